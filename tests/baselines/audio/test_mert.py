"""MERT: equal to HubertModel with the projection's layer norm, 75 frames per second."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import soundfile
import torch
from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

from baselines.audio.mert import Mert
from benchmark.catalog import encoder_cards
from benchmark.checkpoint import load_into
from benchmark.errors import EncoderError
from benchmark.inputs import input_spec

RATE = 24_000
RECORDINGS = Path("tasks/audio/data/oneshots.flac")
# Depth, width, heads, MLP, and whether each block is normalised before (as in the 330M model).
GEOMETRIES = [(3, 64, 4, 96, False), (4, 48, 3, 80, True)]
CLIPS = (24_000, 24_000, 31_337, 400, 10_001)


def hubert(depth: int, width: int, heads: int, intermediate: int, stable: bool) -> HubertModel:
    torch.manual_seed(5)
    config = HubertConfig(
        num_hidden_layers=depth,
        hidden_size=width,
        num_attention_heads=heads,
        intermediate_size=intermediate,
        conv_dim=(32,) * 7,
        feat_proj_layer_norm=True,
        do_stable_layer_norm=stable,
    )
    model = HubertModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def mert(geometry: tuple[Any, ...]) -> Mert:
    *sizes, stable = geometry
    return Mert(*sizes, channels=32, stable=stable).eval()


def published(model: HubertModel) -> dict[str, torch.Tensor]:
    """As in the hub's pytorch_model.bin, with what other exports carry besides."""
    names = {"parametrizations.weight.original0": "weight_g"}
    names["parametrizations.weight.original1"] = "weight_v"
    state = {}
    for key, value in model.state_dict().items():
        name = key
        for new, old in names.items():
            name = name.replace(new, old)
        state[name] = value.clone()
    extras = ("label_embs_concat", "final_proj.weight", "encoder_cqt_model.fc1.weight")
    return {**state, **{key: torch.zeros(3, 4) for key in extras}}


def clips() -> list[np.ndarray]:
    """Recorded one-shots, played at 24 kHz."""
    wave, _ = soundfile.read(RECORDINGS, dtype="float32")
    starts = np.cumsum([0, *CLIPS[:-1]])
    return [wave[start : start + n] for start, n in zip(starts, CLIPS, strict=True)]


def batch(encoder: Mert) -> list[torch.Tensor]:
    spec = input_spec("audio", encoder.input)
    windows = [spec.windows({"waveform": wave, "sample_rate": RATE})[0] for wave in clips()]
    return list(spec.collate(windows).values())


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("suffix", [".bin", ".safetensors"])
def test_it_equals_hubert_with_the_projections_layer_norm(
    geometry: tuple[Any, ...], suffix: str, tmp_path: Path
) -> None:
    model, encoder = hubert(*geometry), mert(geometry)
    path = tmp_path / f"pytorch_model{suffix}"
    if suffix == ".bin":
        torch.save(published(model), path)
    else:
        safetensors.torch.save_file({f"hubert.{k}": v for k, v in model.state_dict().items()}, path)
    load_into(encoder, path, "mert")
    extractor = Wav2Vec2FeatureExtractor(1, RATE, 0.0, do_normalize=True)
    given = batch(encoder)
    with torch.no_grad():
        pooled, layers, frames = encoder(*given), encoder.layers(*given), encoder.frames(*given)
        for row, clip in enumerate(clips()):
            values = extractor(clip, sampling_rate=RATE, return_tensors="pt").input_values
            expected = model(values, output_hidden_states=True)
            last = expected.last_hidden_state[0]
            assert len(last) == (len(clip) - 400) // 320 + 1
            torch.testing.assert_close(frames[row, : len(last)], last, atol=1e-4, rtol=0)
            torch.testing.assert_close(pooled[row], last.mean(0), atol=1e-4, rtol=0)
            means = torch.stack([state[0].mean(0) for state in expected.hidden_states])
            torch.testing.assert_close(layers[:, row], means, atol=1e-4, rtol=0)
    assert len(layers) == geometry[0] + 1


@pytest.mark.parametrize("seconds", [1, 5, 30])
def test_75_frames_per_second(seconds: int) -> None:
    encoder = Mert(1, 32, 2, 32, channels=8).eval()
    samples = seconds * RATE
    with torch.no_grad():
        frames = encoder.frames(torch.randn(1, samples), torch.tensor([samples]))
    assert encoder.frame_rate == 75
    assert frames.shape[1] == 75 * seconds - 1  # a last window of 400 samples would begin too late


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_neither_padding_nor_the_batch_matters(geometry: tuple[Any, ...]) -> None:
    encoder = mert(geometry)
    waveform, lengths = batch(encoder)
    with torch.no_grad():
        together = encoder(torch.nn.functional.pad(waveform, (0, 4001)), lengths)
        for row, length in enumerate(lengths.tolist()):
            alone = encoder(waveform[row : row + 1, :length], lengths[row : row + 1])[0]
            torch.testing.assert_close(together[row], alone, atol=1e-5, rtol=0)


def test_a_file_that_does_not_fit_is_refused_by_key(tmp_path: Path) -> None:
    state = published(hubert(*GEOMETRIES[0]))
    path = tmp_path / "pytorch_model.bin"
    torch.save(state, path)
    with pytest.raises(EncoderError, match=r"missing: encoder\.layers\.3"):
        load_into(mert((4, 64, 4, 96, False)), path, "mert")
    state["encoder.surplus"] = torch.zeros(1)
    state.pop("feature_projection.layer_norm.bias")
    torch.save(state, path)
    with pytest.raises(
        EncoderError, match=r"feature_projection\.layer_norm\.bias; surplus: encoder\.surplus"
    ):
        load_into(mert(GEOMETRIES[0]), path, "mert")


@pytest.mark.parametrize("name", ["mert", "mert-95m", "mert-330m"])
def test_the_card_counts_the_full_model(name: str) -> None:
    card = encoder_cards()[name]
    with torch.device("meta"):
        full = Mert(**card.options)
    assert sum(parameter.numel() for parameter in full.parameters()) == card.parameters
    assert len(full.model.encoder.layers) + 1 == (25 if name == "mert-330m" else 13)
