"""Cards of the adapters that take any published model of their library (light)."""

from benchmark.catalog import EncoderCard

ENCODERS: list[EncoderCard] = [
    EncoderCard(
        name="timm:*",
        target="baselines.generic.timm_images:TimmImages",
        modality="",
        kind="adapter",
        title="Any image model of timm",
        summary="timm:vit_small_patch16_224.dino; tissue tiles, or echo frames averaged "
        "(--modality echo)",
        licence="the model's own",
        pretraining="the model's own",
        weights="downloaded by timm from the model's hub page",
    ),
    EncoderCard(
        name="hf:*",
        target="baselines.generic.huggingface:HuggingFace",
        modality="",
        kind="adapter",
        title="Any waveform or image model of transformers",
        summary="hf:facebook/wav2vec2-base, or a folder that save_pretrained wrote; no remote code",
        licence="the model's own",
        pretraining="the model's own",
        weights="downloaded by huggingface_hub, or a local folder",
    ),
    EncoderCard(
        name="open_clip:*",
        target="baselines.generic.open_clip_model:OpenClip",
        modality="",
        kind="adapter",
        title="Any CLIP of open_clip",
        summary="open_clip:ViT-B-32/laion2b_s34b_b79k, open_clip:NAME/FILE, "
        "open_clip:hf-hub:ORGANISATION/NAME or a folder; zero-shot; tissue tiles, or echo frames "
        "averaged (--modality echo)",
        licence="the model's own",
        pretraining="the model's own",
        weights="downloaded by open_clip from the model's hub page, or a local file or folder",
    ),
    EncoderCard(
        name="onnx:*",
        target="baselines.generic.onnx_file:OnnxFile",
        modality="",
        kind="adapter",
        title="An ONNX file",
        summary="onnx:model.onnx; modality and input from the file's metadata or from --modality "
        "and --input",
        licence="the model's own",
        pretraining="the model's own",
        weights="the file itself",
    ),
]
