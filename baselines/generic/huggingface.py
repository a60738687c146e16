"""transformers models by name or folder: waveform models (wav2vec 2.0, HuBERT, WavLM, data2vec
audio, ...) and image models (ViT, DINOv2, ...). Code from a hub is never executed."""

from __future__ import annotations

from math import prod

import torch

from baselines.generic.image_batches import image_input, image_modality, over_frames
from benchmark.errors import EncoderError


class HuggingFace(torch.nn.Module):
    """`hf:NAME`: mean over time (waveforms) or the pooled / class token (images)."""

    def __init__(self, name: str, pretrained: bool = True, modality: str | None = None) -> None:
        super().__init__()
        from transformers import AutoConfig, AutoModel

        try:
            config = AutoConfig.from_pretrained(name, trust_remote_code=False)
            build = AutoModel.from_pretrained if pretrained else AutoModel.from_config
            self.model = build(name if pretrained else config, trust_remote_code=False)
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise EncoderError(
                f"hf:{name} cannot be had ({reason}); connect to the hub once, or name a folder "
                "that save_pretrained wrote"
            ) from error
        self.config = self.model.config
        waveform = hasattr(self.config, "conv_stride")
        if waveform and modality not in (None, "audio"):
            raise EncoderError(f"hf:{name} takes waveforms: --modality audio, not {modality!r}")
        if not waveform and not hasattr(self.config, "image_size"):
            raise EncoderError(
                f"hf:{name} ({self.config.model_type}) is neither a waveform nor an image model; "
                "wrap it in a file, my_encoder.py:MyEncoder"
            )
        self.modality = "audio" if waveform else image_modality(f"hf:{name}", modality)
        if waveform:
            self._set_audio(name)
        else:
            self._set_images(name)

    def _set_audio(self, name: str) -> None:
        from transformers import AutoFeatureExtractor

        rate, normalise = 16_000, True
        try:
            extractor = AutoFeatureExtractor.from_pretrained(name, trust_remote_code=False)
            rate = int(extractor.sampling_rate)
            normalise = bool(getattr(extractor, "do_normalize", True))
        except (OSError, ValueError):
            pass  # a folder with the model alone: the convention of wav2vec 2.0
        self.frame_rate = rate / prod(self.config.conv_stride)
        self.input: dict[str, object] = {
            "sample_rate": rate,
            "seconds": 30,
            "min_seconds": 0.1,
            "normalise": "zero-mean-unit-variance" if normalise else "none",
        }
        self.frames = self._frames  # only waveform models have frames

    def _set_images(self, name: str) -> None:
        from transformers import AutoImageProcessor

        mean = std = (0.5, 0.5, 0.5)
        try:
            processor = AutoImageProcessor.from_pretrained(name, trust_remote_code=False)
            mean, std = tuple(processor.image_mean), tuple(processor.image_std)
        except (OSError, ValueError, ImportError):
            pass  # a folder with the model alone: ViT's own scaling
        size = self.config.image_size
        size = int(size if isinstance(size, int) else size[0])
        self.input = image_input(self.modality, size, mean, std)
        self.patches = self._patches

    def forward(
        self,
        waveform: torch.Tensor | None = None,
        lengths: torch.Tensor | None = None,
        image: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Waveforms (B, T) or images (B, 3, H, W) / (B, 3, T, H, W) -> (B, D).

        Images come first like waveforms, or by name as in astronomy.
        """
        inputs = _given(waveform, image)
        if self.modality == "audio":
            return self._each_length(inputs, lengths, lambda hidden: hidden[-1].mean(1))
        return over_frames(inputs, lengths, self._pooled)

    def layers(
        self,
        waveform: torch.Tensor | None = None,
        lengths: torch.Tensor | None = None,
        image: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Every hidden state, averaged over time or tokens: (L, B, D)."""
        inputs = _given(waveform, image)
        if self.modality == "audio":
            stacked = self._each_length(
                inputs, lengths, lambda hidden: torch.stack([h.mean(1) for h in hidden], 1)
            )
        else:
            stacked = over_frames(inputs, lengths, self._hidden_means)
        return stacked.transpose(0, 1)

    def _frames(self, waveform: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """(B, T) -> (B, T', D) at `frame_rate`; frames beyond a clip's end are zero."""
        padded = []
        frames = round(waveform.shape[1] / self.input["sample_rate"] * self.frame_rate)  # type: ignore[operator]
        for row, length in zip(waveform, lengths.tolist(), strict=True):
            tokens = self._hidden(row[None, :length])[-1][0]
            padded.append(torch.nn.functional.pad(tokens, (0, 0, 0, max(0, frames - len(tokens)))))
        return torch.stack([tokens[:frames] for tokens in padded])

    def _patches(self, image: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """Patch tokens on their grid, (B, H', W', D)."""
        return over_frames(image, lengths, self._grid)

    def _hidden(self, inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        states: tuple[torch.Tensor, ...] = self.model(
            inputs, output_hidden_states=True
        ).hidden_states
        return states

    def _each_length(self, waveform, lengths, pool):  # type: ignore[no-untyped-def]
        """Clips of one length together, unpadded: models with group normalisation are not neutral
        to padding."""
        counts = (
            torch.full((len(waveform),), waveform.shape[1]) if lengths is None else lengths.cpu()
        )
        pooled: list[torch.Tensor] = [waveform] * len(waveform)
        minimum = round(0.1 * self.input["sample_rate"])  # type: ignore[operator]
        for length in counts.unique().tolist():
            rows = (counts == length).nonzero()[:, 0].tolist()
            outputs = pool(self._hidden(waveform[rows, : max(length, minimum)]))
            for row, output in zip(rows, outputs, strict=True):
                pooled[row] = output
        return torch.stack(pooled)

    def _pooled(self, images: torch.Tensor) -> torch.Tensor:
        output = self.model(images)
        pooled = getattr(output, "pooler_output", None)
        if pooled is not None:
            return pooled.flatten(1)
        hidden: torch.Tensor = output.last_hidden_state
        return hidden[:, 0] if hidden.ndim == 3 else hidden.flatten(2).mean(2)

    def _hidden_means(self, images: torch.Tensor) -> torch.Tensor:
        means = [h.mean(1) if h.ndim == 3 else h.flatten(2).mean(2) for h in self._hidden(images)]
        if len({mean.shape[-1] for mean in means}) > 1:
            means = means[-1:]  # stages of different width cannot be averaged
        return torch.stack(means, 1)

    def _grid(self, images: torch.Tensor) -> torch.Tensor:
        hidden = self.model(images).last_hidden_state
        if hidden.ndim == 4:
            return hidden.permute(0, 2, 3, 1)
        patch = getattr(self.config, "patch_size", 16)
        patch = patch if isinstance(patch, int) else patch[0]
        height, width = images.shape[-2] // patch, images.shape[-1] // patch
        tokens: torch.Tensor = hidden[:, -height * width :]
        return tokens.unflatten(1, (height, width))


def _given(waveform: torch.Tensor | None, image: torch.Tensor | None) -> torch.Tensor:
    inputs = waveform if image is None else image
    if inputs is None:
        raise TypeError("neither a waveform nor an image")
    return inputs
