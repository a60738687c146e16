"""CLAP: spectrogram equal to the library's extractor, both towers to its model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import soundfile
import torch
from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, RobertaTokenizer

from baselines.audio import clap
from baselines.audio.clap import ClapAudioText
from benchmark.catalog import HubFile, encoder_cards
from benchmark.checkpoint import load_into
from benchmark.errors import EncoderError

RATE = 48_000
RECORDINGS = Path("tasks/audio/data/oneshots.flac")
SIZE = {
    "depths": (1, 1, 2, 1),
    "heads": (1, 2, 4, 8),
    "channels": 16,
    "text_depth": 2,
    "text_width": 32,
    "text_heads": 2,
    "text_intermediate": 64,
    "dimension": 24,
    "tokenizer": "bytes",
}
CLIPS = (480_000, 500_000, 200_000, 3_001, 240_000, 479_999)
TEXTS = ["a dog barks", "This is a sound of rain.", "x"]


def library_model() -> ClapModel:
    torch.manual_seed(2)
    audio = {
        "depths": [1, 1, 2, 1],
        "num_attention_heads": [1, 2, 4, 8],
        "patch_embeds_hidden_size": 16,
        "hidden_size": 128,
    }
    text = {
        "num_hidden_layers": 2,
        "hidden_size": 32,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    }
    model = ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=24)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        norm = model.audio_model.audio_encoder.batch_norm
        norm.running_mean.normal_(-40, 5)
        norm.running_var.uniform_(100, 300)
    return model


def clips() -> list[np.ndarray]:
    wave, _ = soundfile.read(RECORDINGS, dtype="float32")
    starts = np.cumsum([0, *CLIPS[:-1]])
    return [wave[start : start + n] for start, n in zip(starts, CLIPS, strict=True)]


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    waves = [torch.from_numpy(wave) for wave in clips()]
    return torch.nn.utils.rnn.pad_sequence(waves, batch_first=True), torch.tensor(CLIPS)


def extracted(clip: np.ndarray) -> torch.Tensor:
    extractor = ClapFeatureExtractor(
        feature_size=64,
        sampling_rate=RATE,
        hop_length=480,
        max_length_s=10,
        fft_window_size=1024,
        frequency_min=50,
        frequency_max=14_000,
        truncation="rand_trunc",
        padding="repeatpad",
    )
    # cut before: the extractor would take a random piece
    inputs = extractor(clip[:480_000], sampling_rate=RATE, return_tensors="pt")
    return inputs.input_features.float()


@pytest.mark.parametrize("suffix", [".bin", ".safetensors"])
def test_it_equals_the_library_on_a_published_file(suffix: str, tmp_path: Path) -> None:
    model = library_model()
    encoder = ClapAudioText(**SIZE).eval()
    path = tmp_path / f"model{suffix}"
    state = {key: value.clone() for key, value in model.state_dict().items()}
    if suffix == ".bin":
        torch.save(state, path)
    else:  # buffers that the model computes need not be in the file
        computed = ("token_type_ids", "relative_position_index")
        state = {key: value for key, value in state.items() if not key.endswith(computed)}
        safetensors.torch.save_file(state, path)
    load_into(encoder, path, "clap")
    given = batch()
    with torch.no_grad():
        features = encoder.log_mel(*given)
        pooled, layers, frames = encoder(*given), encoder.layers(*given), encoder.frames(*given)
        for row, clip in enumerate(clips()):
            values = extracted(clip)
            torch.testing.assert_close(features[row], values[0], atol=1e-4, rtol=0)  # decibels
            expected = model.get_audio_features(values).pooler_output[0]
            torch.testing.assert_close(pooled[row], expected, atol=1e-4, rtol=0)
            output = model.audio_model(values, output_hidden_states=True)
            torch.testing.assert_close(layers[-1, row], output.pooler_output[0], atol=1e-4, rtol=0)
            stage = output.hidden_states[-1][0].mean((1, 2))
            torch.testing.assert_close(layers[1, row], stage, atol=1e-4, rtol=0)
            torch.testing.assert_close(
                frames[row].mean(0), output.pooler_output[0], atol=1e-4, rtol=0
            )
        ids, mask = encoder._tokens(TEXTS)
        expected = model.get_text_features(ids, attention_mask=mask).pooler_output
        torch.testing.assert_close(encoder.encode_text(TEXTS), expected, atol=1e-5, rtol=0)
    assert layers.shape == (3, len(CLIPS), 128)
    assert frames.shape == (len(CLIPS), 32, 128)
    assert encoder.frame_rate == 3.2


def test_the_frames_follow_the_clip() -> None:
    """A burst in one tenth of the window shows in the frames of that tenth."""
    torch.manual_seed(0)
    encoder = ClapAudioText(**SIZE).eval()
    quiet = torch.full((1, 480_000), 1e-3)
    changes = []
    with torch.no_grad():
        reference = encoder.frames(quiet, torch.tensor([480_000]))[0]
        for tenth in (1, 5, 8):
            loud = quiet.clone()
            burst = slice(tenth * 48_000 + 4_000, tenth * 48_000 + 28_000)
            loud[:, burst] += 0.5 * torch.randn(24_000)
            moved = (encoder.frames(loud, torch.tensor([480_000]))[0] - reference).norm(dim=1)
            changes.append(int(moved.argmax()) / 3.2)
    assert changes == pytest.approx([1, 5, 8], abs=1.3)


def test_neither_padding_nor_the_batch_matters() -> None:
    encoder = ClapAudioText(**SIZE).eval()
    waveform, lengths = batch()
    with torch.no_grad():
        together = encoder(waveform, lengths)
        for row, length in enumerate(lengths.tolist()):
            alone = encoder(waveform[row : row + 1, :length], lengths[row : row + 1])[0]
            torch.testing.assert_close(together[row], alone, atol=1e-5, rtol=0)
        texts = encoder.encode_text(TEXTS)
        torch.testing.assert_close(texts[2:], encoder.encode_text(TEXTS[2:]), atol=1e-5, rtol=0)
    assert texts.shape == (3, together.shape[1])
    torch.testing.assert_close(texts.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(together.norm(dim=1), torch.ones(len(CLIPS)))


def test_roberta_tokens_come_from_the_checkpoints_vocabulary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["<s>", "<pad>", "</s>", "<unk>", *"adobgkrs", "Ġ", "do", "dog", "Ġd", "<mask>"]
    vocabulary = "{" + ", ".join(f'"{word}": {i}' for i, word in enumerate(words)) + "}"
    (tmp_path / "vocab.json").write_text(vocabulary, encoding="utf-8")
    (tmp_path / "merges.txt").write_text("#version: 0.2\nd o\ndo g\n", encoding="utf-8")
    asked: list[HubFile] = []

    def fetched(file: HubFile, name: str, **options: object) -> Path:
        asked.append(file)
        return tmp_path / file.file

    monkeypatch.setattr(clap, "fetch", fetched)
    encoder = ClapAudioText(**{**SIZE, "tokenizer": "hub"})
    assert asked == []  # nothing is fetched before it is needed
    ids, mask = encoder._tokens(["dog", "dog barks"])
    assert {(file.repo, file.file) for file in asked} == {
        ("laion/clap-htsat-unfused", "vocab.json"),
        ("laion/clap-htsat-unfused", "merges.txt"),
    }
    direct = RobertaTokenizer(
        vocab=str(tmp_path / "vocab.json"), merges=str(tmp_path / "merges.txt")
    )
    assert ids[0][mask[0].bool()].tolist() == direct("dog").input_ids == [0, words.index("dog"), 2]
    assert ids[0][~mask[0].bool()].eq(1).all()
    assert encoder.encode_text(["dog", "dog barks"]).shape == (2, 24)


def test_half_precision_keeps_the_embedding() -> None:
    torch.manual_seed(0)
    encoder = ClapAudioText(**SIZE).eval()
    with torch.no_grad():
        exact = encoder(*batch())
        with torch.autocast("cpu", torch.bfloat16):
            half = encoder(*batch())
    assert half.dtype == torch.float32
    assert torch.cosine_similarity(exact, half).min() > 0.999


def test_a_file_that_does_not_fit_is_refused_by_key(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    state: dict[str, Any] = dict(library_model().state_dict())
    torch.save(state, path)
    with pytest.raises(EncoderError, match=r"missing: text_model\.encoder\.layer\.2"):
        load_into(ClapAudioText(**{**SIZE, "text_depth": 3}), path, "clap")
    state.pop("audio_projection.linear1.bias")
    state["audio_model.audio_encoder.patch_embed.fusion_model.x"] = torch.zeros(1)
    torch.save(state, path)
    with pytest.raises(
        EncoderError, match=r"audio_projection\.linear1\.bias; surplus: .*fusion_model"
    ):
        load_into(ClapAudioText(**SIZE), path, "clap")
    with pytest.raises(EncoderError, match="tokenizer is 'hub' or 'bytes'"):
        ClapAudioText(**{**SIZE, "tokenizer": "words"})


def test_the_card_counts_the_full_model() -> None:
    card = encoder_cards()["clap"]
    with torch.device("meta"):
        full = ClapAudioText(**card.options)
    assert sum(parameter.numel() for parameter in full.parameters()) == card.parameters
