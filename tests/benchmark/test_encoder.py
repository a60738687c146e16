"""Every way to name an encoder, and every way to name it wrong."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from benchmark.catalog import encoder_card
from benchmark.encoder import load_encoder
from benchmark.errors import SslBenchError

SOURCE = """
import torch

class Mine(torch.nn.Module):
    modality = "audio"
    input = dict(sample_rate=4000, seconds=2)

    def __init__(self):
        super().__init__()
        self.project = torch.nn.Linear(80, 8)

    def forward(self, waveform, lengths):
        frames = waveform[:, : waveform.shape[1] // 80 * 80].unflatten(1, (-1, 80))
        return self.project(frames)
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "my_encoder.py"
    path.write_text(SOURCE)
    return path


def test_a_catalog_name_gives_a_seeded_encoder() -> None:
    first, again, other = (load_encoder("mock-net", seed=seed) for seed in (0, 0, 1))
    assert first.digest == again.digest != other.digest
    assert first.weights == "random"
    assert first.card.parameters == 32 * 16 + 16
    assert not first.module.training


def test_a_file_with_or_without_the_class_name(mine: Path) -> None:
    named, bare = load_encoder(f"{mine}:Mine"), load_encoder(str(mine))
    assert named.name == "Mine"
    assert named.digest == bare.digest
    assert named.spec.sample_rate == 4000  # type: ignore[attr-defined]


def test_the_digest_follows_weights_and_code_not_the_name(mine: Path) -> None:
    before = load_encoder(str(mine)).digest
    mine.write_text(SOURCE.replace("self.project(frames)", "self.project(frames).tanh()"))
    assert load_encoder(str(mine)).digest != before
    mine.write_text(SOURCE)
    moved = mine.with_name("another_name.py")
    moved.write_text(SOURCE)
    assert load_encoder(str(moved)).digest == before


def test_the_digest_follows_a_module_beside_the_file(mine: Path) -> None:
    (mine.parent / "beside_part.py").write_text("SCALE = 1.0\n")
    mine.write_text("from beside_part import SCALE\n" + SOURCE)
    before = load_encoder(str(mine)).digest
    (mine.parent / "beside_part.py").write_text("SCALE = 2.0\n")
    assert load_encoder(str(mine)).digest != before


def test_a_checkpoint_replaces_the_weights(mine: Path, tmp_path: Path) -> None:
    weights = {"project.weight": torch.ones(8, 80), "project.bias": torch.zeros(8)}
    save_file(weights, tmp_path / "w.safetensors")
    torch.save({"state_dict": weights}, tmp_path / "w.pt")
    for name in ("w.safetensors", "w.pt"):
        encoder = load_encoder(str(mine), checkpoint=tmp_path / name)
        assert encoder.weights == "checkpoint"
        assert encoder.checkpoint_sha256 is not None
        assert (encoder.module.project.weight == 1).all()  # type: ignore[union-attr]


def test_a_checkpoint_that_does_not_fit_names_the_keys(mine: Path, tmp_path: Path) -> None:
    save_file(
        {"project.weight": torch.ones(8, 81), "head.weight": torch.ones(1)},
        tmp_path / "w.safetensors",
    )
    with pytest.raises(SslBenchError) as caught:
        load_encoder(str(mine), checkpoint=tmp_path / "w.safetensors")
    for part in ("missing: project.bias", "surplus: head.weight", "(8, 81), should be (8, 80)"):
        assert part in str(caught.value)


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("this must not be printed",))


def test_a_pickle_with_code_is_refused(
    mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"state_dict": _Evil()}, tmp_path / "evil.pt")
    with pytest.raises(SslBenchError, match="pickled code is refused"):
        load_encoder(str(mine), checkpoint=tmp_path / "evil.pt")
    assert "must not be printed" not in capsys.readouterr().out


def test_damaged_checkpoints_are_refused(mine: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{")
    with pytest.raises(SslBenchError, match="not a whole safetensors file"):
        load_encoder(str(mine), checkpoint=tmp_path / "cut.safetensors")
    with pytest.raises(SslBenchError, match="there is no checkpoint"):
        load_encoder(str(mine), checkpoint=tmp_path / "none.safetensors")
    (tmp_path / "w.npz").write_bytes(b"")
    with pytest.raises(SslBenchError, match=r"a checkpoint is \.safetensors"):
        load_encoder(str(mine), checkpoint=tmp_path / "w.npz")


def test_init_random_draws_own_weights_anew(mine: Path) -> None:
    own, random = load_encoder(str(mine)), load_encoder(str(mine), init="random")
    assert random.weights == "random"
    assert random.name == "Mine (random)"
    assert random.digest == load_encoder(str(mine), init="random").digest
    assert own.weights == "own"


def test_a_pretrained_encoder_without_weights_says_what_it_needs() -> None:
    with pytest.raises(SslBenchError, match="mock-pretrained needs its weights: nowhere.*--init"):
        load_encoder("mock-pretrained")
    assert load_encoder("mock-pretrained", init="random").weights == "random"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mock-spectrun", "Did you mean 'mock-spectrum'"),
        ("tim:vit_tiny", "'tim' is not a way.*Did you mean 'timm:'"),
        ("nowhere.py:Mine", "there is no file nowhere.py"),
        ("timm:vit_tiny_patch16_22", "Did you mean 'vit_tiny_patch16_224'"),
        ("onnx:none.onnx", "there is no such file"),
        ("hf:/none/there", "cannot be had"),
        ("timm:*", "put a model's name after the colon"),
    ],
)
def test_a_wrong_name_suggests_the_right_one(name: str, message: str) -> None:
    with pytest.raises(SslBenchError, match=message):
        load_encoder(name)


def test_two_classes_of_one_file_and_other_settings_are_other_encoders(tmp_path: Path) -> None:
    path = tmp_path / "two.py"
    body = (
        "    modality = 'pointcloud'\n    input = {}\n"
        "    def __init__(self):\n        super().__init__()\n        self.scale = SCALE\n"
        "    def forward(self, points):\n        return points.mean(1) * self.scale\n"
    )
    source = f"import torch\nSCALE = open({str(tmp_path / 'scale')!r}).read()\n" + "".join(
        f"class {name}(torch.nn.Module):\n{body}" for name in "AB"
    )
    path.write_text(source.replace(".read()", ".read(); SCALE = float(SCALE)"))
    (tmp_path / "scale").write_text("1.0")
    first, other = load_encoder(f"{path}:A"), load_encoder(f"{path}:B")
    (tmp_path / "scale").write_text("2.0")
    changed = load_encoder(f"{path}:A")
    assert len({first.digest, other.digest, changed.digest}) == 3


def test_a_submodule_named_layers_is_no_method_of_the_contract(mine: Path) -> None:
    mine.write_text(
        SOURCE.replace("self.project =", "self.layers = torch.nn.ModuleList(); self.project =")
    )
    assert not load_encoder(str(mine)).offers("layers")


def test_features_have_nothing_to_draw_at_random() -> None:
    with pytest.raises(SslBenchError, match="has no weights to draw"):
        load_encoder("mock-spectrum", init="random")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('modality = "audio"', "", "declares no modality"),
        ('modality = "audio"', 'modality = "audoi"', "'audoi' is not one of audio"),
        ("seconds=2", "second=2", "input option 'second'"),
        ("class Mine(torch.nn.Module)", "class Mine", "no torch.nn.Module class 'Mine'"),
        ("import torch\n", "import torch, nonesuch\n", "pip install nonesuch"),
        ("import torch\n", "import torch\n1 / 0\n", "ZeroDivisionError"),
        ("import torch\n", "import torch, sys\nsys.exit(3)\n", "SystemExit: 3"),
        ("super().__init__()", "super().__init__(); 1 / 0", "construction fails: ZeroDivision"),
        ("input = dict(", "card = dict(colour=1)\n    input = dict(", "unknown entries colour"),
        ("    def forward", "    def frames(self, a, b): pass\n    def forward", "no `frame_rate`"),
    ],
)
def test_a_faulty_file_gets_one_clear_error(mine: Path, old: str, new: str, message: str) -> None:
    mine.write_text(SOURCE.replace(old, new))
    with pytest.raises(SslBenchError, match=message) as caught:
        load_encoder(f"{mine}:Mine")
    assert "\n" not in str(caught.value)


def test_timm_gives_features_and_patches_of_tiles_and_frames() -> None:
    encoder = load_encoder("timm:vit_tiny_patch16_224", init="random")
    image = torch.rand(2, 3, 224, 224)
    assert encoder.modality == "histopathology"
    assert encoder.module(image).shape == (2, 192)
    assert encoder.module.patches(image).shape == (2, 14, 14, 192)  # type: ignore[operator]
    echo = load_encoder("timm:resnet10t", init="random", modality="echo")
    video = torch.rand(2, 3, 4, 64, 64)
    full = echo.module(video, torch.tensor([4, 2]))
    alone = echo.module(video[1:, :, :2], torch.tensor([2]))
    np.testing.assert_allclose(full[1], alone[0], atol=1e-4)
    assert echo.module.patches(video, torch.tensor([4, 2])).shape == (2, 2, 2, 512)  # type: ignore[operator]


def test_huggingface_folder_of_a_waveform_model(tmp_path: Path) -> None:
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    config = Wav2Vec2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        conv_dim=(16, 16), conv_stride=(5, 4), conv_kernel=(10, 8), num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    model = Wav2Vec2Model(config).eval()
    model.save_pretrained(tmp_path)
    encoder = load_encoder(f"hf:{tmp_path}")
    wave = torch.randn(2, 8000)
    lengths = torch.tensor([8000, 5000])
    with torch.inference_mode():
        reference = model(wave[1:, :5000]).last_hidden_state.mean(1)[0]
        output = encoder.module(wave, lengths)
        layers = encoder.module.layers(wave, lengths)  # type: ignore[operator]
        frames = encoder.module.frames(wave, lengths)  # type: ignore[operator]
    np.testing.assert_allclose(output[1], reference, atol=1e-5)
    assert layers.shape == (3, 2, 32)
    np.testing.assert_allclose(layers[-1], output, atol=1e-6)
    assert encoder.frame_rate == pytest.approx(800)
    assert abs(frames.shape[1] - 400) <= 1


def test_huggingface_folder_of_an_image_model(tmp_path: Path) -> None:
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        image_size=32, patch_size=8,
    )  # fmt: skip
    ViTModel(config).save_pretrained(tmp_path)
    encoder = load_encoder(f"hf:{tmp_path}")
    assert encoder.modality == "histopathology"
    assert encoder.module.patches(torch.rand(2, 3, 32, 32)).shape == (2, 4, 4, 32)  # type: ignore[operator]


def _onnx(path: Path, metadata: dict[str, str]) -> None:
    from onnx import TensorProto, helper, save

    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["B", 3, 8, 8])
    output = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["B", 3])
    node = helper.make_node("ReduceMean", ["image"], ["embedding"], axes=[2, 3], keepdims=0)
    graph = helper.make_graph([node], "mean", [image], [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, metadata)
    save(model, path)


def test_onnx_file_by_its_metadata_or_by_flags(tmp_path: Path) -> None:
    facts = {"modality": "histopathology", "input": json.dumps({"size": 8})}
    _onnx(tmp_path / "m.onnx", facts)
    encoder = load_encoder(f"onnx:{tmp_path / 'm.onnx'}")
    image = torch.rand(2, 3, 8, 8)
    np.testing.assert_allclose(encoder.module(image), image.mean((2, 3)), atol=1e-6)
    _onnx(tmp_path / "bare.onnx", {})
    with pytest.raises(SslBenchError, match="does not say its modality"):
        load_encoder(f"onnx:{tmp_path / 'bare.onnx'}")
    flagged = load_encoder(
        f"onnx:{tmp_path / 'bare.onnx'}", modality="histopathology", input_options={"size": 8}
    )
    assert flagged.spec == encoder.spec
    assert flagged.digest != encoder.digest
    (tmp_path / "bad.onnx").write_bytes(b"not onnx")
    with pytest.raises(SslBenchError, match="not a whole ONNX model"):
        load_encoder(f"onnx:{tmp_path / 'bad.onnx'}")


def test_cards_of_the_catalog_are_read_without_importing_the_encoder() -> None:
    assert encoder_card("mock-net").modality == "audio"
