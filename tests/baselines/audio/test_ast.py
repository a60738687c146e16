"""AST: filter banks equal to the library's extractor, embeddings to its model."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification

from baselines.audio.audio_spectrogram import AudioSpectrogramTransformer
from benchmark.catalog import encoder_cards
from benchmark.checkpoint import load_into
from benchmark.errors import EncoderError

RATE = 16_000
RECORDINGS = Path("tasks/audio/data/oneshots.flac")
SIZE = {"depth": 2, "width": 48, "heads": 3, "intermediate": 64}
GEOMETRIES = [{}, {"frames": 300, "bands": 64, "patch": 16, "stride": 8}]
CLIPS = (163_840, 200_000, 16_000, 401, 37_123, 100)
# The library's names of a block's parts and those of published files.
PUBLISHED = {
    r"\.layers\.": ".encoder.layer.",
    r"q_proj": "attention.query",
    r"k_proj": "attention.key",
    r"v_proj": "attention.value",
    r"o_proj": "output.dense",
    r"mlp\.fc1": "intermediate.dense",
    r"mlp\.fc2": "output.dense",
}


def library_model(frames: int = 1024, bands: int = 128, patch: int = 16, stride: int = 10) -> Any:
    torch.manual_seed(2)
    config = ASTConfig(
        num_hidden_layers=2,
        hidden_size=48,
        num_attention_heads=3,
        intermediate_size=64,
        max_length=frames,
        num_mel_bins=bands,
        patch_size=patch,
        frequency_stride=stride,
        time_stride=stride,
    )
    model = ASTForAudioClassification(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def published(model: Any) -> dict[str, torch.Tensor]:
    state = {}
    for key, value in model.state_dict().items():
        name = key
        for new, old in PUBLISHED.items():
            name = re.sub(new, old, name)
        state[name] = value.clone()
    assert "audio_spectrogram_transformer.encoder.layer.0.attention.attention.query.bias" in state
    assert "audio_spectrogram_transformer.encoder.layer.1.attention.output.dense.bias" in state
    return state


def clips() -> list[np.ndarray]:
    wave, _ = soundfile.read(RECORDINGS, dtype="float32")
    starts = np.cumsum([0, *CLIPS[:-1]])
    return [wave[start : start + n] for start, n in zip(starts, CLIPS, strict=True)]


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    waves = [torch.from_numpy(wave) for wave in clips()]
    return torch.nn.utils.rnn.pad_sequence(waves, batch_first=True), torch.tensor(CLIPS)


def extracted(clip: np.ndarray, frames: int, bands: int) -> torch.Tensor:
    extractor = ASTFeatureExtractor(
        feature_size=1,
        sampling_rate=RATE,
        num_mel_bins=bands,
        max_length=frames,
        do_normalize=True,
        mean=-4.2677393,
        std=4.5689974,
    )
    clip = np.pad(clip, (0, max(0, 400 - len(clip))))  # the extractor has no frame below this
    values: torch.Tensor = extractor(clip, sampling_rate=RATE, return_tensors="pt").input_values
    return values


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("old", [True, False])
def test_it_equals_the_library_on_a_published_file(
    geometry: dict[str, int], old: bool, tmp_path: Path
) -> None:
    model = library_model(**geometry)
    encoder = AudioSpectrogramTransformer(**SIZE, **geometry).eval()
    path = tmp_path / "pytorch_model.bin"
    torch.save(published(model) if old else model.state_dict(), path)
    load_into(encoder, path, "ast")
    given = batch()
    frames, bands = geometry.get("frames", 1024), geometry.get("bands", 128)
    with torch.no_grad():
        banks = encoder.filter_banks(*given)
        pooled, layers, tokens = encoder(*given), encoder.layers(*given), encoder.frames(*given)
        for row, clip in enumerate(clips()):
            values = extracted(clip, frames, bands)
            torch.testing.assert_close(banks[row], values[0], atol=1e-5, rtol=0)
            expected = model.audio_spectrogram_transformer(values, output_hidden_states=True)
            own = expected.pooler_output[0]
            torch.testing.assert_close(pooled[row], own, atol=1e-4, rtol=0)
            valid = int(encoder.valid_steps(given[1])[row])
            states = [state[0, 2:] for state in expected.hidden_states[:-1]]
            grid = [state.unflatten(0, encoder.grid).mean(0) for state in states]
            means = torch.stack([steps[:valid].mean(0) for steps in grid])
            torch.testing.assert_close(layers[:-1, row], means, atol=1e-4, rtol=0)
            last = expected.last_hidden_state[0, 2:].unflatten(0, encoder.grid).mean(0)
            torch.testing.assert_close(tokens[row], last[: tokens.shape[1]], atol=1e-4, rtol=0)
    assert layers.shape == (3, len(CLIPS), 48)
    torch.testing.assert_close(layers[-1], pooled)


def test_the_patches_that_count_are_those_that_start_within_the_clip() -> None:
    encoder = AudioSpectrogramTransformer(**SIZE)
    assert encoder.grid == (12, 101)
    assert encoder.frame_rate == 10
    lengths = torch.tensor([1, 400, 1840, 2000, 163_840, 500_000])  # 1, 1, 10, 11, 1,022 frames
    assert encoder.valid_steps(lengths).tolist() == [1, 1, 1, 2, 101, 101]


def test_neither_padding_nor_the_batch_matters() -> None:
    encoder = AudioSpectrogramTransformer(**SIZE, frames=256).eval()
    waveform, lengths = batch()
    with torch.no_grad():
        together = encoder(waveform, lengths)
        layers = encoder.layers(waveform, lengths)
        for row, length in enumerate(lengths.tolist()):
            alone = waveform[row : row + 1, :length], lengths[row : row + 1]
            torch.testing.assert_close(together[row], encoder(*alone)[0], atol=1e-5, rtol=0)
            got = encoder.layers(*alone)[:, 0]
            torch.testing.assert_close(layers[:, row], got, atol=1e-5, rtol=0)


def test_half_precision_keeps_the_embedding() -> None:
    torch.manual_seed(0)
    encoder = AudioSpectrogramTransformer(**SIZE, frames=256).eval()
    with torch.no_grad():
        exact = encoder(*batch())
        with torch.autocast("cpu", torch.bfloat16):
            half = encoder(*batch())
    assert half.dtype == torch.float32
    assert torch.cosine_similarity(exact, half).min() > 0.999


def test_a_file_that_does_not_fit_is_refused_by_key(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    state = published(library_model())
    torch.save(state, path)
    with pytest.raises(EncoderError, match=r"missing: layers\.2"):
        load_into(AudioSpectrogramTransformer(**{**SIZE, "depth": 3}), path, "ast")
    with pytest.raises(EncoderError, match=r"position_embeddings is \(1, 1214, 48\)"):
        load_into(AudioSpectrogramTransformer(**SIZE, frames=512), path, "ast")
    state.pop("audio_spectrogram_transformer.layernorm.bias")
    state["audio_spectrogram_transformer.surplus"] = torch.zeros(1)
    torch.save(state, path)
    with pytest.raises(EncoderError, match=r"missing: layernorm\.bias; surplus: surplus"):
        load_into(AudioSpectrogramTransformer(**SIZE), path, "ast")


def test_the_card_counts_the_full_model() -> None:
    card = encoder_cards()["ast"]
    with torch.device("meta"):
        full = AudioSpectrogramTransformer(**card.options)
    assert sum(parameter.numel() for parameter in full.parameters()) == card.parameters
