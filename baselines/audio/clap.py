"""CLAP: audio and text in one space (LAION; HTS-AT and RoBERTa), for zero-shot classification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, nn

from benchmark.catalog import HubFile
from benchmark.checkpoint import fit, tensors_of
from benchmark.errors import EncoderError
from benchmark.hub import fetch

REPOSITORY = "laion/clap-htsat-unfused"
REVISION = "8fa0f1c6d0433df6e97c127f64b2a1d6c0dcda8a"
RATE = 48_000
FFT = 1024
HOP = 480  # 10 ms
BANDS = 64
FLOOR = 1e-10
START, PAD, END = 0, 1, 2  # RoBERTa's special tokens
FIRST_BYTE = 4  # the byte tokeniser's first own token, beyond RoBERTa's <unk>
MOST_TOKENS = 512


class ClapLogMel(nn.Module):
    """(B, T) waveforms to (B, 1, samples / 480 + 1, 64) decibels, as `ClapFeatureExtractor` does it
    without fusion (`truncation="rand_trunc"`, `padding="repeatpad"`).

    A clip shorter than `samples` is repeated as often as it fits whole, and the rest is silence.
    Of a longer one the extractor takes a random piece; here it is the first, so that a clip has one
    embedding (the engine cuts clips into windows before). Slaney mel bands of the power spectrum
    from 50 to 14,000 Hz.
    """

    bank: Tensor

    def __init__(self, samples: int) -> None:
        super().__init__()
        from transformers.audio_utils import mel_filter_bank

        self.samples = samples
        bank = mel_filter_bank(
            num_frequency_bins=FFT // 2 + 1,
            num_mel_filters=BANDS,
            min_frequency=50.0,
            max_frequency=14_000.0,
            sampling_rate=RATE,
            norm="slaney",
            mel_scale="slaney",
        )
        self.register_buffer("bank", torch.from_numpy(bank).float(), persistent=False)

    def forward(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """(B, T), (B,) valid samples to (B, 1, frames, 64)."""
        with torch.autocast(waveform.device.type, enabled=False):
            # In double precision, as the extractor, where the device has it: down to the floor of
            # -100 dB single precision shows.
            precise = torch.float32 if waveform.device.type == "mps" else torch.float64
            clip = self.repeated(waveform.to(precise), lengths)
            window = torch.hann_window(FFT, dtype=precise, device=waveform.device)
            spectrum = torch.stft(clip, FFT, HOP, window=window, return_complex=True)
            power = spectrum.abs().square().transpose(1, 2) @ self.bank.to(precise)
            return (10 * power.clamp(min=FLOOR).log10()[:, None]).float()

    def repeated(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """(B, T), (B,) to (B, samples)."""
        lengths = lengths.clamp(1, min(self.samples, waveform.shape[1]))[:, None]
        position = torch.arange(self.samples, device=waveform.device)
        filled = position < self.samples // lengths * lengths
        return waveform.gather(1, position % lengths) * filled


class ClapAudioText(nn.Module):
    """LAION-CLAP (Wu et al. 2023, https://arxiv.org/abs/2211.06687) without feature fusion.

    `forward` and `encode_text` give the unit vectors that contrastive training compares. Of
    LAION's checkpoints this is laion/clap-htsat-unfused: the one for all kinds of sound, whose
    audio tower sees a clip of 10 s as it is; the fused one adds random crops of longer clips, and
    music_and_speech is tuned to those two. Defaults are its geometry, which is the library's.
    """

    modality = "audio"

    def __init__(
        self,
        depths: Sequence[int] = (2, 2, 6, 2),
        heads: Sequence[int] = (4, 8, 16, 32),
        channels: int = 96,
        text_depth: int = 12,
        text_width: int = 768,
        text_heads: int = 12,
        text_intermediate: int = 3072,
        dimension: int = 512,
        seconds: float = 10.0,
        tokenizer: Literal["hub", "bytes"] = "hub",
    ) -> None:
        """depths, heads: per stage of HTS-AT, whose width doubles from `channels` with every stage.
        dimension: of the common space. seconds: of the window. tokenizer: "hub" fetches RoBERTa's
        vocabulary when `encode_text` is first called; "bytes" needs none, for tests."""
        super().__init__()
        from transformers import ClapConfig, ClapModel

        if tokenizer not in ("hub", "bytes"):
            raise EncoderError(f"tokenizer is 'hub' or 'bytes', not {tokenizer!r}")
        self.tokenizer = tokenizer
        self.width = channels * 2 ** (len(depths) - 1)
        audio = {
            "depths": list(depths),
            "num_attention_heads": list(heads),
            "num_hidden_layers": len(depths),
            "patch_embeds_hidden_size": channels,
            "hidden_size": self.width,
            "num_mel_bins": BANDS,
            "spec_size": 256,
            "window_size": 8,
            "patch_size": 4,
            "patch_stride": [4, 4],
            "enable_fusion": False,
        }
        text = {
            "num_hidden_layers": text_depth,
            "hidden_size": text_width,
            "num_attention_heads": text_heads,
            "intermediate_size": text_intermediate,
            "vocab_size": 50_265,
            "max_position_embeddings": MOST_TOKENS + 2,
            "type_vocab_size": 1,
            "layer_norm_eps": 1e-12,
            "pad_token_id": PAD,
            "bos_token_id": START,
            "eos_token_id": END,
        }
        self.model = ClapModel(
            ClapConfig(text_config=text, audio_config=audio, projection_dim=dimension)
        )
        self.log_mel = ClapLogMel(round(seconds * RATE))
        # The spectrogram's time is folded into an image of 256 x 256, and every stage but the
        # first halves it after patches of 4.
        steps = 256 * (256 // BANDS) // 4 // 2 ** (len(depths) - 1)
        self.steps, self.frame_rate = steps, steps / seconds
        self.input = {"sample_rate": RATE, "seconds": seconds}

    def load_checkpoint(self, entries: Mapping[str, Any]) -> None:
        """Load the file as published: both towers and their projections."""
        computed = ("position_ids", "token_type_ids", "relative_position_index")
        optional = [key for key in self.model.state_dict() if key.endswith(computed)]
        fit(self.model, tensors_of(entries, prefixes=("model.",)), optional=optional)

    def forward(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """(B, T), (B,) to (B, 512), of unit length."""
        features = self.log_mel(waveform, lengths)
        latent = self.model.audio_model(input_features=features).pooler_output
        return _unit(self.model.audio_projection(latent))

    def layers(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """(B, T), (B,) to (3, B, D): what enters the last stage, what leaves it, and the same
        normalised (what the projection gets), averaged over the window. The stages before are
        narrower."""
        output = self.model.audio_model(
            input_features=self.log_mel(waveform, lengths), output_hidden_states=True
        )
        stages = [state.float().mean((2, 3)) for state in output.hidden_states[-2:]]
        return torch.stack([*stages, output.pooler_output.float()])

    def frames(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """(B, T), (B,) to (B, T', D): the last stage's map at 3.2 Hz, averaged over frequency; T'
        is that of the longest clip."""
        features = self.log_mel(waveform, lengths)
        latent: Tensor = self.model.audio_model(input_features=features).last_hidden_state
        count = -(-int(lengths.max()) * self.steps // self.log_mel.samples)
        return latent.float().mean(2).transpose(1, 2)[:, : max(1, count)]

    def encode_text(self, texts: list[str]) -> Tensor:
        """Texts to (N, 512), of unit length, in the space of `forward`."""
        device = self.model.text_projection.linear1.weight.device
        ids, mask = (tensor.to(device) for tensor in self._tokens(texts))
        latent = self.model.text_model(input_ids=ids, attention_mask=mask).pooler_output
        return _unit(self.model.text_projection(latent))

    def _tokens(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Token ids and their mask, (N, longest) each."""
        if self.tokenizer == "bytes":
            inner = [[FIRST_BYTE + byte for byte in text.encode()] for text in texts]
            rows = [[START, *row[: MOST_TOKENS - 2], END] for row in inner]
            longest = max(len(row) for row in rows)
            ids = torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])
            return ids, (ids != PAD).long()
        encoded = self._roberta(
            texts, padding=True, truncation=True, max_length=MOST_TOKENS, return_tensors="pt"
        )
        return encoded["input_ids"], encoded["attention_mask"]

    @cached_property
    def _roberta(self) -> Any:
        """RoBERTa's byte-level BPE, from the checkpoint's own vocabulary files."""
        from transformers import RobertaTokenizer

        vocabulary, merges = (
            str(fetch(HubFile(REPOSITORY, file, REVISION), "clap's tokenizer", weights=False))
            for file in ("vocab.json", "merges.txt")
        )
        return RobertaTokenizer(vocab=vocabulary, merges=merges)


def _unit(rows: Tensor) -> Tensor:
    return nn.functional.normalize(rows.float(), dim=-1)
