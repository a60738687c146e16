"""The task contract and the task card.

A task is a dataset + a target + a split + a metric. Its metadata stands in one place, the YAML
front matter of its card. Its class says how the official layout on disk becomes examples; the
engine prepares them once into memory-mapped Arrow files that tasks of one `source` share.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from benchmark.errors import DatasetError, SslBenchError

if TYPE_CHECKING:
    from datasets import DatasetDict

Modality = Literal["audio", "pointcloud", "echo", "ecg", "histopathology", "astronomy"]
TargetKind = Literal[
    "multiclass", "multilabel", "regression", "frames", "segmentation", "bags", "pairs"
]
ProtocolName = Literal[
    "linear-probe", "knn", "few-shot", "zero-shot", "label-efficiency", "retrieval", "anomaly"
]
SPLITS = ("train", "validation", "test")


class Target(BaseModel):
    """What is predicted, and the name of the label column that holds it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: TargetKind
    column: str
    classes: tuple[str, ...] = ()
    prompts: dict[str, tuple[str, ...]] = {}  # class -> texts, for zero-shot
    unit: str = ""
    normal_class: str | None = None  # the anomaly protocol's one class; None: all of train

    @model_validator(mode="after")
    def _classes_where_needed(self) -> Target:
        needed = {"multiclass": 2, "bags": 2, "segmentation": 2, "multilabel": 1, "frames": 1}
        if len(self.classes) < needed.get(self.kind, 0):
            raise ValueError(f"a {self.kind} target needs its classes")
        unknown = set(self.prompts) - set(self.classes)
        if unknown:
            raise ValueError(f"prompts for unknown classes: {', '.join(sorted(unknown))}")
        return self


class ReferenceScore(BaseModel):
    """A published score that can be compared with ours."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    encoder: str
    protocol: str
    metric: str
    value: float
    source: str


class TaskCard(BaseModel):
    """The front matter of `data_cards/<name>.md`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    version: int = Field(1, ge=1)
    title: str
    modality: Modality
    implementation: str = Field(pattern=r"^[\w.]+:\w+$")
    target: Target
    metric: str
    chance: float = Field(description="the main metric's value for a guess")
    ceiling: float = 1.0
    split: str = Field(description="where the split comes from, in words")
    grouping: str = Field(description="the unit that is never split: patient, speaker, ...")
    access: Literal["embedded", "download", "manual"]
    simulated: bool
    licence: str
    citation: str
    homepage: str = ""
    size: str = ""
    datasets: tuple[str, ...] = ()  # names as they stand in encoders' pretraining data
    towers: tuple[str, ...] = ()  # astronomy: which inputs the task offers
    protocols: tuple[ProtocolName, ...] = ("linear-probe",)
    suites: tuple[str, ...] = ("core",)
    reference_scores: tuple[ReferenceScore, ...] = ()
    prose: str = ""


def read_card(path: Path) -> TaskCard:
    """Read one card: YAML front matter between `---` lines, then prose.

    Raises:
        SslBenchError: no front matter, bad YAML, an unknown or missing field.
    """
    text = path.read_text(encoding="utf-8")
    parts = text.split("---\n", 2)
    if not text.startswith("---\n") or len(parts) != 3:
        raise SslBenchError(f"{path}: a card begins with YAML between two lines of '---'")
    try:
        fields = yaml.load(parts[1], Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        return TaskCard(name=path.stem, **fields, prose=parts[2].strip())
    except yaml.YAMLError as error:
        raise SslBenchError(f"{path}: {' '.join(str(error).split())}") from None
    except (ValidationError, TypeError) as error:
        raise SslBenchError(f"{path}: {_first(error)}") from None


def _first(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    problem = error.errors()[0]
    return f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"


class Task:
    """Base class of every task: subclasses write `examples` and, for files on disk, `files`.

    Tasks with the same `source` are read from one prepared copy; each takes its own label column
    (`card.target.column`). Rows whose label is None do not belong to the task.
    """

    source: ClassVar[str]  # name of the dataset behind the task
    version: ClassVar[int] = 1  # raise it when `examples` changes what it yields
    splits: ClassVar[tuple[str, ...]] = SPLITS

    def __init__(self, card: TaskCard, root: Path | None = None) -> None:
        self.card = card
        self.root = root  # the user's --data-dir

    def examples(self, split: str) -> Iterator[Mapping[str, Any]]:
        """Yield the examples of one split in a fixed order.

        Each is a dict with `id` (unique in the dataset), `group` (never in two splits), `input`
        (a dict as `benchmark.inputs` lists it) and one entry per label column:
        multiclass / bags int; multilabel (C,) array of 0 / 1; regression float;
        frames (n, 3) float64 array of onset s, offset s, class index (-1: not annotated, left out);
        segmentation (H, W) integer array of class indices (255: ignored). For bags also `bag`: the
        name of the bag (slide) that the example (tile) belongs to.
        """
        raise NotImplementedError

    def files(self) -> list[Path]:
        """Files that `examples` reads; a change in one prepares the dataset anew.

        Raises:
            DatasetError: a file is missing: what was looked for, where, how to get it.
        """
        return []

    def load(self) -> DatasetDict:
        """The task's `DatasetDict`: columns `input`, `target`, `group`, `id` (and `bag`)."""
        from benchmark.prepare import load_prepared

        return load_prepared(self)

    def require(self, *relative: str) -> Path:
        """A file or folder of the official layout under the data directory.

        Raises:
            DatasetError: no data directory, or nothing at that place.
        """
        get = f"`ssl-bench show {self.card.name}` says how to get it"
        if self.root is None:
            raise DatasetError(
                f"{self.card.name} is read from disk: pass --data-dir or set SSL_BENCH_DATA; {get}"
            )
        path = self.root.joinpath(*relative)
        if not path.exists():
            raise DatasetError(f"{self.card.name}: {path} is missing; {get}")
        return path
