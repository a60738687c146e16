"""The encoder contract, and loading an encoder from any of its names.

An encoder is a `torch.nn.Module` with the attributes `modality` and `input` and the method
`forward(...)` -> (B, D) embeddings or (B, T', D) tokens. Optional: `frames` with `frame_rate`,
`patches`, `layers`, `towers`, `encode_text`, `joint` (the input in the space of `encode_text`,
where that is not forward's), `card`.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch

from benchmark.catalog import EncoderCard, encoder_card, encoder_cards, import_target, nearest
from benchmark.checkpoint import load_into
from benchmark.errors import EncoderError, SslBenchError
from benchmark.hub import published_weights
from benchmark.identity import code_digest, weights_digest
from benchmark.inputs import InputSpec, input_spec
from benchmark.paths import file_sha256

Kind = Literal["clip", "frames", "patches", "layers", "towers", "joint"]
Weights = Literal["none", "random", "published", "checkpoint", "own"]

ADAPTER = re.compile(r"^([a-z_]+):(?!\d)(.+)$")
FILE = re.compile(r"^(.+\.py)(?::(\w+))?$")
CARD_FIELDS = set(EncoderCard.__dataclass_fields__) - {"name", "target", "modality", "options"}


@dataclass(frozen=True)
class LoadedEncoder:
    """An encoder ready to embed, with all that identifies it."""

    name: str
    module: torch.nn.Module
    spec: InputSpec
    card: EncoderCard
    weights: Weights
    digest: str  # weights + code + input specification
    checkpoint_sha256: str | None = None
    revision: str | None = None  # commit of the hub's repository that the weights come from
    frame_rate: float | None = field(default=None)

    @property
    def modality(self) -> str:
        return self.spec.modality

    def offers(self, kind: Kind) -> bool:
        """Whether the encoder has this kind of output (tokens of forward may still give frames)."""
        return kind == "clip" or has_method(self.module, kind)


def has_method(module: torch.nn.Module, name: str) -> bool:
    """Whether an encoder has an optional method; a submodule of that name is none."""
    found = getattr(module, name, None)
    return callable(found) and not isinstance(found, torch.nn.Module)


def load_encoder(
    name: str,
    *,
    checkpoint: Path | None = None,
    init: Literal["random"] | None = None,
    modality: str | None = None,
    input_options: Mapping[str, Any] | None = None,
    seed: int = 0,
    reduced: bool = False,
) -> LoadedEncoder:
    """Load the encoder that `name` names, in evaluation mode on the CPU.

    `name` is a catalog name, `file.py:Class`, `hf:NAME`, `timm:NAME`, `open_clip:NAME` or
    `onnx:FILE`; `checkpoint`
    replaces its weights; `init="random"` leaves it untrained, as a control; `reduced` builds the
    shallow copy that the card describes, for tests. Construction is seeded.

    Raises:
        EncoderError: not found, not loadable, or against the contract; says what to do.
    """
    if checkpoint is not None and init == "random":
        raise EncoderError("--checkpoint and --init random exclude each other: leave one out")
    revision = None
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module, card, weights = _construct(name, checkpoint, init, modality, reduced)
        if weights == "published" and card.kind == "pretrained":
            published = published_weights(card, name)
            checkpoint, revision = published.path, published.commit
    except SslBenchError:
        raise
    except ImportError as error:
        raise EncoderError(_missing_package(name, error)) from error
    except (Exception, SystemExit) as error:
        raise EncoderError(f"encoder {name}: its construction fails: {_one_line(error)}") from error
    if checkpoint is not None:
        load_into(module, Path(checkpoint), name)
        weights = weights if weights == "published" else "checkpoint"
    module.eval().requires_grad_(False)
    spec = _spec(name, module, input_options)
    reference = name if card.kind == "adapter" else type(module).__qualname__
    settings = [reference, spec.model_dump(mode="json"), card.options]
    digest = code_digest(type(module), json.dumps(settings, sort_keys=True))
    return LoadedEncoder(
        name=display_name(card.name, init, None if weights == "published" else checkpoint),
        module=module,
        spec=spec,
        card=replace(card, parameters=card.parameters or _parameters(module)),
        weights=weights,
        digest=weights_digest(module, digest),
        checkpoint_sha256=None if checkpoint is None else file_sha256(Path(checkpoint)),
        revision=revision,
        frame_rate=_frame_rate(name, module),
    )


def display_name(name: str, init: str | None, checkpoint: Path | None) -> str:
    """The name in results: a control and a checkpoint are never mistaken for the original."""
    if init == "random":
        return f"{name} (random)"
    return f"{name} ({Path(checkpoint).stem})" if checkpoint is not None else name


def card_of(name: str) -> EncoderCard:
    """The card of a catalog name or of an adapter's reference, without loading the encoder."""
    adapter = ADAPTER.match(name)
    if adapter and f"{adapter[1]}:*" in encoder_cards():
        return replace(encoder_card(f"{adapter[1]}:*"), name=name, title=adapter[2])
    if adapter:
        schemes = [card.removesuffix("*") for card in encoder_cards() if card.endswith(":*")]
        raise EncoderError(
            f"{name}: {adapter[1]!r} is not a way to name an encoder."
            f"{nearest(adapter[1], schemes)} Known: {', '.join(schemes)}"
        )
    return encoder_card(name)


def _construct(
    name: str, checkpoint: Path | None, init: str | None, modality: str | None, reduced: bool
) -> tuple[torch.nn.Module, EncoderCard, Weights]:
    if file := FILE.match(name):
        module, card = _from_file(Path(file[1]), file[2])
        if init == "random":
            _reinitialise(module)
        return module, card, "random" if init == "random" else "own"
    card = card_of(name)
    if card.name.endswith(":*"):
        raise EncoderError(f"{name}: put a model's name after the colon, in place of '*'")
    build = import_target(card.target)
    if card.kind == "adapter":
        pretrained = init != "random" and checkpoint is None
        module = build(ADAPTER.match(name)[2], pretrained=pretrained, modality=modality)  # type: ignore[index]
        return module, card, "published" if pretrained else "random"
    module = build(**{**card.options, **(card.reduced if reduced else {})})
    if card.kind == "features":
        if init == "random":
            raise EncoderError(f"{name} has no weights to draw at random: leave --init out")
        return module, card, "none"
    if card.kind == "control" or init == "random":
        return module, card, "random"
    return module, card, "published" if checkpoint is None else "checkpoint"


def _from_file(path: Path, attribute: str | None) -> tuple[torch.nn.Module, EncoderCard]:
    if not path.is_file():
        raise EncoderError(f"there is no file {path}: pass the path of your encoder's Python file")
    spec = importlib.util.spec_from_file_location(f"ssl_bench_user_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise EncoderError(f"{path} cannot be imported as a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except ImportError:
        raise
    except (Exception, SystemExit) as error:
        raise EncoderError(f"{path}: importing it fails: {_one_line(error)}") from error
    finally:
        sys.path.remove(str(path.resolve().parent))
    own = {
        key: value
        for key, value in vars(module).items()
        if inspect.isclass(value)
        and issubclass(value, torch.nn.Module)
        and value.__module__ == spec.name
    }
    if attribute is None:
        declared = [key for key, value in own.items() if hasattr(value, "input")] or list(own)
        if len(declared) != 1:
            names = ", ".join(sorted(own)) or "none"
            raise EncoderError(
                f"{path}: say which class to use, {path}:NAME (torch modules: {names})"
            )
        attribute = declared[0]
    if attribute not in own:
        raise EncoderError(
            f"{path} has no torch.nn.Module class {attribute!r}.{nearest(attribute, own)}"
        )
    encoder = own[attribute]()
    return encoder, _card_from(attribute, encoder)


def _card_from(name: str, module: torch.nn.Module) -> EncoderCard:
    given = getattr(module, "card", None) or {}
    unknown = set(given) - CARD_FIELDS
    if unknown:
        raise EncoderError(
            f"{name}.card has unknown entries {', '.join(sorted(unknown))} "
            f"(known: {', '.join(sorted(CARD_FIELDS))})"
        )
    modality = str(getattr(module, "modality", ""))
    return EncoderCard(**{"name": name, "target": "", "modality": modality, "title": name, **given})


def _reinitialise(module: torch.nn.Module) -> None:
    """Draw every parameter anew: by the layer's own rule, else N(0, 0.02)."""
    for layer in module.modules():
        reset = getattr(layer, "reset_parameters", None)
        if callable(reset):
            reset()
        else:
            for parameter in layer.parameters(recurse=False):
                torch.nn.init.normal_(parameter, std=0.02)


def _spec(name: str, module: torch.nn.Module, options: Mapping[str, Any] | None) -> InputSpec:
    if not isinstance(module, torch.nn.Module):
        raise EncoderError(f"encoder {name} is a {type(module).__name__}, not a torch.nn.Module")
    if not isinstance(getattr(module, "modality", None), str):
        raise EncoderError(
            f'encoder {name} declares no modality: set e.g. `modality = "audio"` on the class'
        )
    declared = getattr(module, "input", None) or {}
    if not isinstance(declared, Mapping):
        raise EncoderError(f"encoder {name}: `input` must be a dict, not {type(declared).__name__}")
    return input_spec(str(module.modality), {**declared, **(options or {})})


def _frame_rate(name: str, module: torch.nn.Module) -> float | None:
    rate = getattr(module, "frame_rate", None)
    if rate is not None and (not isinstance(rate, int | float) or not rate > 0):
        raise EncoderError(
            f"encoder {name}: `frame_rate` must be a positive number of Hz, not {rate!r}"
        )
    if rate is None and has_method(module, "frames"):
        raise EncoderError(
            f"encoder {name} has frames() but no `frame_rate` (Hz): set it on the class"
        )
    return None if rate is None else float(rate)


def _parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _missing_package(name: str, error: ImportError) -> str:
    package = (error.name or "").split(".")[0]
    remedy = f"pip install {package}" if package else "install it"
    return f"encoder {name} needs a package that is missing ({error}): {remedy}"


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:400]
