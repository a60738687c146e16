"""Whisper: spectrogram equal to the library's extractor, frames to its encoder."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import soundfile
import torch
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

from baselines.audio.whisper import WhisperSpeech
from benchmark.catalog import encoder_cards
from benchmark.checkpoint import load_into
from benchmark.errors import EncoderError

RATE = 16_000
RECORDINGS = Path("tasks/audio/data/oneshots.flac")
SIZE = {"depth": 2, "width": 48, "heads": 3, "intermediate": 64}
CLIPS = (480_000, 16_000, 500_000, 321, 77_777, 1)


def library_model(seconds: int = 30, bands: int = 80) -> Any:
    torch.manual_seed(2)
    config = WhisperConfig(
        encoder_layers=2,
        decoder_layers=1,
        d_model=48,
        encoder_attention_heads=3,
        decoder_attention_heads=3,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        num_mel_bins=bands,
        max_source_positions=50 * seconds,
        vocab_size=100,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=3,
    )
    model = WhisperForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def clips() -> list[np.ndarray]:
    wave, _ = soundfile.read(RECORDINGS, dtype="float32")
    starts = np.cumsum([0, *CLIPS[:-1]])
    return [wave[start : start + n] for start, n in zip(starts, CLIPS, strict=True)]


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    waves = [torch.from_numpy(wave) for wave in clips()]
    return torch.nn.utils.rnn.pad_sequence(waves, batch_first=True), torch.tensor(CLIPS)


@pytest.mark.parametrize(("seconds", "bands"), [(30, 80), (5, 128)])
@pytest.mark.parametrize("suffix", [".bin", ".safetensors"])
def test_it_equals_the_library_on_a_published_file(
    seconds: int, bands: int, suffix: str, tmp_path: Path
) -> None:
    model = library_model(seconds, bands)
    encoder = WhisperSpeech(**SIZE, bands=bands, seconds=seconds).eval()
    path = tmp_path / f"model{suffix}"
    state = {key: value.clone() for key, value in model.state_dict().items()}
    if suffix == ".bin":
        torch.save(state, path)
    else:
        state.pop("proj_out.weight")  # tied to the decoder's embedding: not in the published file
        safetensors.torch.save_file(state, path)
    load_into(encoder, path, "whisper")
    extractor = WhisperFeatureExtractor(
        feature_size=bands,
        sampling_rate=RATE,
        hop_length=160,
        chunk_length=seconds,
        n_fft=400,
    )
    given = batch()
    with torch.no_grad():
        features = encoder.log_mel(*given)
        pooled, layers, frames = encoder(*given), encoder.layers(*given), encoder.frames(*given)
        for row, clip in enumerate(clips()):
            values = extractor(clip, sampling_rate=RATE, return_tensors="pt").input_features
            torch.testing.assert_close(features[row], values[0], atol=1e-4, rtol=0)
            expected = model.model.encoder(values, output_hidden_states=True)
            torch.testing.assert_close(
                frames[row], expected.last_hidden_state[0], atol=1e-4, rtol=0
            )
            valid = min(-(-len(clip) // 320), 50 * seconds)
            means = torch.stack([state[0, :valid].mean(0) for state in expected.hidden_states])
            torch.testing.assert_close(layers[:, row], means, atol=1e-4, rtol=0)
            torch.testing.assert_close(pooled[row], means[-1], atol=1e-4, rtol=0)
    assert layers.shape == (3, len(CLIPS), 48)
    assert frames.shape == (len(CLIPS), 50 * seconds, 48)


def test_neither_padding_nor_the_batch_matters() -> None:
    encoder = WhisperSpeech(**SIZE, seconds=5).eval()
    waveform, lengths = batch()
    with torch.no_grad():
        together = encoder(waveform + 0, lengths)
        noisy = waveform.clone()
        noisy[1, lengths[1] :] = 1.0  # what lies beyond `lengths` is not read
        torch.testing.assert_close(encoder(noisy, lengths), together)
        for row, length in enumerate(lengths.tolist()):
            alone = encoder(waveform[row : row + 1, :length], lengths[row : row + 1])[0]
            torch.testing.assert_close(together[row], alone, atol=1e-5, rtol=0)
        frames = encoder.frames(waveform[1:2, :16_000], lengths[1:2])
    assert frames.shape == (1, 50, 48)
    assert encoder.frame_rate == 50


def test_half_precision_keeps_the_embedding() -> None:
    torch.manual_seed(0)
    encoder = WhisperSpeech(**SIZE, seconds=5).eval()
    with torch.no_grad():
        exact = encoder(*batch())
        with torch.autocast("cpu", torch.bfloat16):
            half = encoder(*batch())
    assert half.dtype == torch.float32
    assert torch.cosine_similarity(exact, half).min() > 0.999


def test_a_file_that_does_not_fit_is_refused_by_key(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    state = dict(library_model(5).state_dict())
    torch.save(state, path)
    with pytest.raises(EncoderError, match=r"missing: layers\.2"):
        load_into(WhisperSpeech(**{**SIZE, "depth": 3}, seconds=5), path, "whisper")
    with pytest.raises(EncoderError, match=r"embed_positions\.weight is \(250, 48\)"):
        load_into(WhisperSpeech(**SIZE), path, "whisper")
    state.pop("model.encoder.layer_norm.bias")
    state["model.encoder.surplus"] = torch.zeros(1)
    torch.save(state, path)
    with pytest.raises(EncoderError, match=r"missing: layer_norm\.bias; surplus: surplus"):
        load_into(WhisperSpeech(**SIZE, seconds=5), path, "whisper")


@pytest.mark.parametrize("name", ["whisper", "whisper-tiny", "whisper-small"])
def test_the_card_counts_the_full_model(name: str) -> None:
    card = encoder_cards()[name]
    with torch.device("meta"):
        full = WhisperSpeech(**card.options)
    assert sum(parameter.numel() for parameter in full.parameters()) == card.parameters
