"""wav2vec 2.0, HuBERT, WavLM, data2vec: equal to the library's own models on published files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import transformers

from baselines.audio.speech import RECEPTIVE_FIELD, SpeechTransformer
from benchmark.catalog import encoder_cards
from benchmark.checkpoint import load_into
from benchmark.errors import EncoderError
from benchmark.inputs import input_spec

TOLERANCE = 1e-5
SIZE = {"depth": 3, "width": 64, "heads": 4, "intermediate": 96, "channels": 32}
CONFIG = {
    "num_hidden_layers": 3,
    "hidden_size": 64,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "conv_dim": (32,) * 7,
}
# Family: the class whose files are published, with a prefix and a head, or none.
PUBLISHED = {
    "wav2vec2": ("Wav2Vec2ForPreTraining", "Wav2Vec2Config"),
    "hubert": ("HubertModel", "HubertConfig"),
    "wavlm": ("WavLMModel", "WavLMConfig"),
    "data2vec": ("Data2VecAudioModel", "Data2VecAudioConfig"),
}
FINE_TUNED = {
    "wav2vec2": "Wav2Vec2ForCTC",
    "hubert": "HubertForCTC",
    "wavlm": "WavLMForSequenceClassification",
    "data2vec": "Data2VecAudioForCTC",
}
CLIPS = (16_000, 12_345, 16_000, 5_001, 430)


def library_model(name: str, config: str, **settings: Any) -> Any:
    torch.manual_seed(3)
    model = getattr(transformers, name)(getattr(transformers, config)(**CONFIG, **settings))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def base(model: Any) -> Any:
    return getattr(model, model.base_model_prefix, model)


def published(model: Any, old_names: bool) -> dict[str, torch.Tensor]:
    """The state dict under the names of files from before torch 2, or the present ones."""
    state = {key: value.clone() for key, value in model.state_dict().items()}
    if old_names:
        for old, new in (("weight_g", "original0"), ("weight_v", "original1")):
            state = {k.replace(f"parametrizations.weight.{new}", old): v for k, v in state.items()}
    return state


def save(state: dict[str, torch.Tensor], folder: Path, suffix: str) -> Path:
    path = folder / f"model{suffix}"
    if suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state, path)
    return path


def clips() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    waves = []
    for samples in CLIPS:
        tone = np.sin(2 * np.pi * rng.uniform(100, 900) * np.arange(samples) / 16_000)
        waves.append((0.3 * tone + 0.05 * rng.standard_normal(samples)).astype(np.float32))
    return waves


def batch(encoder: Any) -> list[torch.Tensor]:
    spec = input_spec("audio", encoder.input)
    windows = [spec.windows({"waveform": w, "sample_rate": 16_000})[0] for w in clips()]
    return list(spec.collate(windows).values())


@pytest.mark.parametrize("family", PUBLISHED)
@pytest.mark.parametrize(("suffix", "old"), [(".bin", True), (".safetensors", False)])
def test_it_equals_the_library_on_a_published_file(
    family: str, suffix: str, old: bool, tmp_path: Path
) -> None:
    model = library_model(*PUBLISHED[family])
    encoder = SpeechTransformer(family, **SIZE).eval()
    load_into(encoder, save(published(model, old), tmp_path, suffix), family)
    extractor = transformers.Wav2Vec2FeatureExtractor(
        feature_size=1,
        sampling_rate=16_000,
        padding_value=0.0,
        do_normalize=encoder.input["normalise"] != "none",
    )
    given = batch(encoder)
    with torch.no_grad():
        pooled, layers, frames = (
            encoder(*given),
            encoder.layers(*given),
            encoder.frames(*given),
        )
        for row, clip in enumerate(clips()):
            values = extractor(clip, sampling_rate=16_000, return_tensors="pt").input_values
            torch.testing.assert_close(given[0][row, : len(clip)], values[0], atol=1e-5, rtol=0)
            expected = base(model)(values, output_hidden_states=True)
            last = expected.last_hidden_state[0]
            torch.testing.assert_close(pooled[row], last.mean(0), atol=TOLERANCE, rtol=0)
            torch.testing.assert_close(frames[row, : len(last)], last, atol=TOLERANCE, rtol=0)
            assert (frames[row, len(last) :] == frames[row, len(last) - 1]).all()
            means = torch.stack([state[0].mean(0) for state in expected.hidden_states])
            torch.testing.assert_close(layers[:, row], means, atol=TOLERANCE, rtol=0)
    assert layers.shape == (4, len(CLIPS), 64)
    assert frames.shape == (len(CLIPS), 49, 64)
    assert encoder.frame_rate == 50
    torch.testing.assert_close(layers[-1], pooled)


@pytest.mark.parametrize("family", FINE_TUNED)
def test_a_file_with_a_head_and_its_prefix_loads(family: str, tmp_path: Path) -> None:
    model = library_model(FINE_TUNED[family], PUBLISHED[family][1], vocab_size=32)
    encoder = SpeechTransformer(family, **SIZE).eval()
    path = save(published(model, True), tmp_path, ".bin")
    assert any(key.startswith(f"{base(model).base_model_prefix}.") for key in torch.load(path))
    load_into(encoder, path, family)
    values = torch.randn(2, 4000)
    with torch.no_grad():
        got = encoder.frames(values, torch.tensor([4000, 4000]))
        torch.testing.assert_close(got, base(model)(values).last_hidden_state)


@pytest.mark.parametrize("family", ["wav2vec2", "hubert", "wavlm"])
def test_the_large_models_geometry(family: str, tmp_path: Path) -> None:
    settings = {"feat_extract_norm": "layer", "do_stable_layer_norm": True}
    bias = family != "wavlm"
    model = library_model(*PUBLISHED[family], conv_bias=bias, **settings)
    encoder = SpeechTransformer(family, **SIZE, norm="layer", stable=True).eval()
    load_into(encoder, save(published(model, True), tmp_path, ".bin"), family)
    values = torch.randn(1, 4000)
    with torch.no_grad():
        expected = base(model)(values, output_hidden_states=True).hidden_states
        got = encoder.layers(values, torch.tensor([4000]))
        torch.testing.assert_close(got[:, 0], torch.stack([h[0].mean(0) for h in expected]))


@pytest.mark.parametrize("family", PUBLISHED)
def test_neither_padding_nor_the_batch_matters(family: str) -> None:
    torch.manual_seed(0)
    encoder = SpeechTransformer(family, **SIZE).eval()
    waveform, lengths = batch(encoder)
    with torch.no_grad():
        together = encoder(waveform, lengths)
        longer = encoder(torch.nn.functional.pad(waveform, (0, 3000)), lengths)
        for row, length in enumerate(lengths.tolist()):
            alone = encoder(waveform[row : row + 1, :length], lengths[row : row + 1])[0]
            torch.testing.assert_close(together[row], alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(together, longer)


def test_a_clip_shorter_than_one_frame_counts_as_followed_by_silence() -> None:
    encoder = SpeechTransformer(**SIZE).eval()
    clip = torch.randn(1, 120)
    padded = torch.nn.functional.pad(clip, (0, RECEPTIVE_FIELD - 120))
    with torch.no_grad():
        short = encoder(clip, torch.tensor([120]))
        torch.testing.assert_close(short, encoder(padded, torch.tensor([RECEPTIVE_FIELD])))
        noisy = torch.cat([clip, torch.randn(1, 500)], 1)  # what lies beyond `lengths` is not read
        torch.testing.assert_close(short, encoder(noisy, torch.tensor([120])))


def change(state: dict[str, torch.Tensor], how: str) -> dict[str, torch.Tensor]:
    if how == "missing":
        state.pop("encoder.layers.1.layer_norm.bias")
    elif how == "surplus":
        state["encoder.layers.7.layer_norm.bias"] = torch.zeros(64)
    elif how == "size":
        state["feature_projection.projection.weight"] = torch.zeros(128, 32)
    return state


@pytest.mark.parametrize(
    ("how", "named"),
    [
        ("missing", r"missing: encoder\.layers\.1\.layer_norm\.bias"),
        ("surplus", r"surplus: encoder\.layers\.7\.layer_norm\.bias"),
        ("size", r"feature_projection\.projection\.weight is \(128, 32\), should be \(64, 32\)"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_by_key(how: str, named: str, tmp_path: Path) -> None:
    state = change(published(library_model(*PUBLISHED["hubert"]), True), how)
    with pytest.raises(EncoderError, match=named):
        load_into(SpeechTransformer("hubert", **SIZE), save(state, tmp_path, ".bin"), "hubert")


def test_another_system_is_refused(tmp_path: Path) -> None:
    path = save(published(library_model(*PUBLISHED["wavlm"]), True), tmp_path, ".bin")
    with pytest.raises(EncoderError, match="gru_rel_pos_const"):
        load_into(SpeechTransformer("hubert", **SIZE), path, "hubert")
    with pytest.raises(EncoderError, match="family is one of"):
        SpeechTransformer("wav2vec3")


@pytest.mark.parametrize("family", PUBLISHED)
def test_half_precision_keeps_the_embedding(family: str) -> None:
    torch.manual_seed(0)
    encoder = SpeechTransformer(family, **SIZE).eval()
    given = batch(encoder)
    with torch.no_grad():
        exact = encoder(*given)
        with torch.autocast("cpu", torch.bfloat16):
            half = encoder(*given)
    assert half.dtype == torch.float32
    assert torch.cosine_similarity(exact, half).min() > 0.999


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_card_counts_the_full_model(name: str) -> None:
    card = encoder_cards()[name]
    with torch.device("meta"):
        full = SpeechTransformer(**card.options)
    assert sum(parameter.numel() for parameter in full.parameters()) == card.parameters
