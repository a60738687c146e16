"""Any CLIP of open_clip (Ilharco et al., https://github.com/mlfoundations/open_clip)."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import normalize

from baselines.generic.image_batches import image_input, image_modality, over_frames
from benchmark.checkpoint import fit, load_into, tensors_of
from benchmark.errors import EncoderError

# a folder's weights, in open_clip's order of preference
WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "model.safetensors",
    "pytorch_model.bin",
)
NO_NETWORK = {"pretrained_image": False, "pretrained_text": False}


class OpenClip(nn.Module):
    """`open_clip:NAME/PRETRAINED`, where PRETRAINED is one of open_clip's tags or a checkpoint
    file; `open_clip:hf-hub:ORGANISATION/NAME`; or `open_clip:FOLDER` with `open_clip_config.json`
    and its weights. For the untrained architecture `open_clip:NAME` suffices.

    Images and texts become unit vectors of one space; of a video, the frames' mean.
    """

    def __init__(self, name: str, pretrained: bool = True, modality: str | None = None) -> None:
        super().__init__()
        self.name = f"open_clip:{name}"
        self.modality = image_modality(self.name, modality)
        if name.startswith("hf-hub:"):
            self._tokens_of, self.model = name, self._from_hub(name, pretrained)
        elif Path(name).is_dir():
            self._tokens_of = f"local-dir:{name}"
            self.model = self._from_folder(Path(name), pretrained)
        else:
            self._tokens_of = name.partition("/")[0]
            self.model = self._built_in(*name.partition("/")[::2], pretrained)
        facts = self.model.visual.preprocess_cfg
        size = facts["size"]
        self.input = image_input(
            self.modality,
            int(size if isinstance(size, int) else size[0]),
            tuple(facts["mean"]),
            tuple(facts["std"]),
        )

    def forward(self, image: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(B, 3, H, W) or (B, 3, T, H, W), (B,) valid frames -> (B, D)."""
        return over_frames(image, lengths, self._unit_vectors)

    def patches(self, image: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The vision tower's last feature map, (B, H', W', D); video: averaged over frames."""
        return over_frames(image, lengths, self._map)

    def encode_text(self, texts: list[str]) -> Tensor:
        """Texts -> (N, D) unit vectors in the space of `forward`.

        Raises:
            EncoderError: the model has a tokeniser of its own and the hub cannot be reached.
        """
        tokens = self._tokenizer(texts).to(next(self.model.parameters()).device)
        return normalize(self.model.encode_text(tokens).float(), dim=-1)

    def load_checkpoint(self, entries: Mapping[str, Any]) -> None:
        """open_clip's keys, bare or under `module.` (saved by its training script); the
        constant position numbers of older text towers are left out.

        Raises:
            EncoderError: keys missing, surplus or of another shape.
        """
        tensors = tensors_of(
            entries, inside=("state_dict",), prefixes=("module.",), drop=r"\.position_ids$"
        )
        fit(self.model, tensors)

    @cached_property
    def _tokenizer(self) -> Any:
        import open_clip

        try:
            return open_clip.get_tokenizer(self._tokens_of)
        except Exception as error:
            raise EncoderError(
                f"{self.name}: its tokeniser cannot be had ({_first_line(error)}); connect to the "
                "hub once"
            ) from error

    def _create(self, name: str, remedy: str, **options: Any) -> Any:
        import open_clip

        try:
            with _quiet():
                return open_clip.create_model(name, **options)
        except Exception as error:
            raise EncoderError(
                f"{self.name} cannot be had ({_first_line(error)}); {remedy}"
            ) from error

    def _from_hub(self, name: str, pretrained: bool) -> Any:
        remedy = "connect to the hub once, or name a folder that holds a copy of the repository"
        if pretrained:
            return self._create(name, remedy, require_pretrained=True)
        return self._create(name, remedy, load_weights=False, **NO_NETWORK)

    def _from_folder(self, folder: Path, pretrained: bool) -> Any:
        remedy = "a folder holds open_clip_config.json and the weights, as in a hub repository"
        model = self._create(f"local-dir:{folder}", remedy, load_weights=False, **NO_NETWORK)
        if pretrained:
            files = [folder / file for file in WEIGHTS if (folder / file).is_file()]
            if not files:
                raise EncoderError(
                    f"{self.name}: {folder} has no weights ({', '.join(WEIGHTS)}); put them there, "
                    "or pass --checkpoint FILE"
                )
            self._load(model, files[0])
        return model

    def _built_in(self, name: str, tag: str, pretrained: bool) -> Any:
        import open_clip

        if name not in open_clip.list_models():
            near = difflib.get_close_matches(name, open_clip.list_models(), n=1, cutoff=0.5)
            hint = f"Did you mean {near[0]!r}?" if near else "See open_clip.list_models()."
            raise EncoderError(f"{self.name}: open_clip has no model {name!r}. {hint}")
        tags = open_clip.list_pretrained_tags_by_model(name)
        options = self._options(name, tag, tags)
        remedy = "connect to the hub once, or pass --checkpoint FILE or --init random"
        file = Path(tag)
        if not pretrained or (tag not in tags and file.is_file()):
            model = self._create(name, remedy, load_weights=False, **options)
            if pretrained:
                self._load(model, file)
            return model
        if tag not in tags:
            known = ", ".join([*tags[:6], "..."] if len(tags) > 6 else tags) or "none"
            raise EncoderError(
                f"{self.name}: say which weights, open_clip:{name}/PRETRAINED (known: {known}) or "
                f"open_clip:{name}/FILE, or --init random for the untrained architecture"
            )
        return self._create(name, remedy, pretrained=tag, require_pretrained=True, **options)

    @staticmethod
    def _options(name: str, tag: str, tags: list[str]) -> dict[str, Any]:
        """Image scaling of the named weights, or else of the model's first ones; and the
        approximate GELU, where open_clip would only warn that the weights were trained with it."""
        import open_clip

        facts = open_clip.get_pretrained_cfg(name, tag if tag in tags else tags[0]) if tags else {}
        scaling = {key: facts[key] for key in ("mean", "std") if key in facts}
        options: dict[str, Any] = {"force_preprocess_cfg": scaling, **NO_NETWORK}
        if tag in tags and facts.get("quick_gelu"):
            options["force_quick_gelu"] = True
        return options

    def _load(self, model: nn.Module, file: Path) -> None:
        self.model = model
        load_into(self, file, self.name)

    def _unit_vectors(self, images: Tensor) -> Tensor:
        return normalize(self.model.encode_image(images).float(), dim=-1)

    def _map(self, images: Tensor) -> Tensor:
        found = self.model.visual.forward_intermediates(
            images, indices=1, normalize_intermediates=True, output_fmt="NCHW"
        )
        maps: Tensor = found["image_intermediates"][-1]
        return maps.permute(0, 2, 3, 1).float()


@contextmanager
def _quiet() -> Iterator[None]:
    """open_clip reports to the root logger what is said here by EncoderError."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)


def _first_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
