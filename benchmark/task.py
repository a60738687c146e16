"""The task contract and the task card.

A task is a dataset + a target + a split + a metric. Its metadata stands in one place, the YAML
front matter of its card. Its class says how the official layout on disk becomes examples; the
engine prepares them once into memory-mapped Arrow files that tasks of one `source` share.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from benchmark.distribution import Distribution
from benchmark.errors import DatasetError, SslBenchError

if TYPE_CHECKING:
    from datasets import DatasetDict

    from benchmark.mirror import Mirror

Modality = Literal["audio", "pointcloud", "echo", "ecg", "histopathology", "astronomy"]
TargetKind = Literal[
    "multiclass", "multilabel", "regression", "frames", "segmentation", "bags", "pairs"
]
ProtocolName = Literal[
    "linear-probe",
    "knn",
    "few-shot",
    "zero-shot",
    "label-efficiency",
    "retrieval",
    "anomaly",
    "verification",
]
SPLITS = ("train", "validation", "test")
MOST_PROBLEMS = 1000  # that a survey lists


class Target(BaseModel):
    """What is predicted, and the name of the label column that holds it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: TargetKind
    column: str
    classes: tuple[str, ...] = ()
    prompts: dict[str, tuple[str, ...]] = {}  # class -> texts, for zero-shot
    prompt: str = "{}"  # for classes without, by encoders without sentences of their own
    unit: str = ""
    unscored: tuple[str, ...] = ()  # classes left out of macro averages
    normal_class: str | None = None  # the anomaly protocol's one class; None: all of train

    @field_validator("classes", mode="before")
    @classmethod
    def _ranges(cls, value: Any) -> Any:
        """`id10001..id11251` stands for all of them."""
        if isinstance(value, str) and (ends := re.fullmatch(r"(\D*)(\d+)\.\.(\D*)(\d+)", value)):
            first, last, width = int(ends[2]), int(ends[4]), len(ends[2])
            return tuple(f"{ends[1]}{index:0{width}d}" for index in range(first, last + 1))
        return value

    @model_validator(mode="after")
    def _classes_where_needed(self) -> Target:
        needed = {"multiclass": 2, "bags": 2, "segmentation": 2, "multilabel": 1, "frames": 1}
        if len(self.classes) < needed.get(self.kind, 0):
            raise ValueError(f"a {self.kind} target needs its classes")
        for field, names in (("prompts", self.prompts), ("unscored", self.unscored)):
            unknown = set(names) - set(self.classes)
            if unknown:
                raise ValueError(f"{field} for unknown classes: {', '.join(sorted(unknown))}")
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
    published: dict[str, int] = Field(
        {}, description="examples of train, validation and test as published, or `all` of them"
    )
    datasets: tuple[str, ...] = ()  # names of `corpora.yaml`: where the data comes from
    towers: tuple[str, ...] = ()  # astronomy: which inputs the task offers
    protocols: tuple[ProtocolName, ...] = ("linear-probe",)
    suites: tuple[str, ...] = ("core",)
    reference_scores: tuple[ReferenceScore, ...] = ()
    prose: str = ""

    @field_validator("published")
    @classmethod
    def _sizes(cls, value: dict[str, int]) -> dict[str, int]:
        known = set(value) <= set(SPLITS) or set(value) == {"all"}
        if not known or any(number < 1 for number in value.values()):
            raise ValueError("give numbers of examples for train, validation and test, or for all")
        return value


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
    """Base class of every task.

    A dataset on disk writes `rows` (a cheap listing, in order) and `read` (decodes one row; called
    in several processes), and says in `distribution` how it is published. A generated or embedded
    one writes `examples` instead.

    Tasks with the same `source` are read from one prepared copy; each takes its own label column
    (`card.target.column`). Rows whose label is None do not belong to the task.
    """

    source: ClassVar[str]  # name of the dataset behind the task
    version: ClassVar[int] = 1  # raise it when `examples` changes what it yields
    splits: ClassVar[tuple[str, ...]] = SPLITS
    distribution: ClassVar[Distribution | None] = None

    def __init__(self, card: TaskCard, root: Path | None = None) -> None:
        self.card = card
        self.root = root  # the user's --data-dir
        self.prepared: str | None = None  # name of the prepared copy, once it is known
        self.problems: list[str] | None = None  # of a survey, which goes on after them
        self.mirror: Mirror | None = None  # of an object store; `root` is its copy here

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.card, self.root)  # what a subclass keeps may be large

    def take_from(self, url: str) -> None:
        """Read the dataset from a URL, whose files are mirrored when they are first needed.

        Raises:
            SslBenchError: the URL cannot be used.
        """
        from benchmark.mirror import mirror

        self.mirror = mirror(url)
        self.root = self.mirror.folder

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        """List the examples of one split in a fixed order, without opening the recordings.

        Each is a dict with `id` (unique in the dataset), `group` (never in two splits), labels as
        `examples` lists them, and whatever `read` needs under keys that begin with `_`, which are
        not stored.
        """
        raise NotImplementedError

    def read(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """Decode one row: `input` (a dict as `benchmark.inputs` lists it), and labels that stand in
        the files. A pure function of the row.

        Raises:
            DatasetError: the recording is missing or damaged; names file and remedy.
        """
        raise NotImplementedError

    def expand(self, row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """The examples that one row gives: `read(row)` merged into it. Override it where a file
        holds several (the beats of a record, the tiles of a slide)."""
        light = {key: value for key, value in row.items() if not key.startswith("_")}
        yield {**light, **self.read(row)}

    def examples(self, split: str) -> Iterator[Mapping[str, Any]]:
        """Yield the examples of one split in a fixed order.

        Each is a dict with `id` (unique in the dataset), `group` (never in two splits), `input`
        (a dict as `benchmark.inputs` lists it) and one entry per label column:
        multiclass / bags int; multilabel (C,) array of 0 / 1; regression float;
        frames (n, 3) float64 array of onset s, offset s, class index (-1: not annotated, left out);
        segmentation (H, W) integer array of class indices (255: ignored), for point clouds (N,);
        pairs (n, 2) integer array of trials: position of the other example in the split, 1 where
        both are of one class, else 0. For bags also `bag`: the name of the bag (slide) that the
        example (tile) belongs to.
        """
        for row in self.rows(split):
            yield from self.expand(row)

    def materialise(self, stored: Mapping[str, Any]) -> Mapping[str, Any]:
        """The `input` to embed from the one that was stored: the same, unless what is stored is
        only a place in a large file (a tile of a slide), which is then read here."""
        return stored

    def files(self) -> list[Path]:
        """Files that `examples` reads; a change in one prepares the dataset anew.

        Raises:
            DatasetError: a file is missing: what was looked for, where, how to get it.
        """
        if self.distribution is None:
            return []
        folder = self.folder
        lacking = self.distribution.missing(folder)
        if lacking:
            raise DatasetError(
                f"{self.card.name}: {folder} lacks {', '.join(lacking)}; {self._how_to_get()}"
            )
        return self.distribution.files(folder)

    @property
    def folder(self) -> Path:
        """The dataset's folder below the data directory.

        Raises:
            DatasetError: no data directory, or no such folder in it.
        """
        if self.distribution is None:
            raise DatasetError(f"{self.card.name} has no files of its own")
        if self.root is None:
            raise DatasetError(
                f"{self.card.name} is read from disk: pass --data-dir or set SSL_BENCH_DATA; "
                f"{self._how_to_get()}"
            )
        if self.mirror is not None:
            self.mirror.bring(self.distribution)
        found = self.distribution.find(self.root)
        if found is None:
            where = self.root if self.mirror is None else self.mirror.bucket.url
            raise DatasetError(
                f"{self.card.name}: no folder {self.distribution.folders[0]} with "
                f"{self.distribution.layout[0]} in {where}; {self._how_to_get()}"
            )
        return found

    def path(self, *relative: str) -> Path:
        """A file of the dataset, which has to exist.

        Raises:
            DatasetError: it does not.
        """
        path = self.folder.joinpath(*relative)
        if not path.exists():
            raise DatasetError(f"{self.card.name}: {path} is missing; {self._how_to_get()}")
        return path

    def _how_to_get(self) -> str:
        if self.card.access == "download" and self.distribution and self.distribution.fetched:
            agreed = " --accept-terms" if self.distribution.terms else ""
            return f"`ssl-bench data fetch {self.card.name}{agreed}` downloads it"
        return f"`ssl-bench data fetch {self.card.name}` says how to get it"

    def classes(self, column: str) -> tuple[str, ...]:
        """The classes of a label column: of the task of this source whose target it is."""
        if column == self.card.target.column:
            return self.card.target.classes
        from benchmark.catalog import task_cards

        for card in task_cards():
            same = card.implementation == self.card.implementation
            if same and card.target.column == column:
                return card.target.classes
        raise DatasetError(f"no task of {self.source} has the target column {column!r}")

    def label(self, column: str, name: str, where: object) -> int:
        """The index of class `name` in a label column.

        Raises:
            DatasetError: no such class; names the file or row `where` it stands.
        """
        known = self.classes(column)
        if name not in known and self.problems is not None:
            self.problems.append(f"{where}: the label {name!r} is not one of {len(known)} classes")
            return 0
        if name not in known:
            shown = ", ".join(known[:8]) + (", ..." if len(known) > 8 else "")
            raise DatasetError(
                f"{self.card.name}: {where}: the label {name!r} is not one of the {len(known)} "
                f"classes ({shown}): get the file again, unchanged"
            )
        return known.index(name)

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Put around what `rows` makes of one line of an index: an error leaves the line out and
        joins the list of a survey, if it is one that lists, and else is raised."""
        try:
            yield
        except SslBenchError as error:
            if self.problems is None or len(self.problems) >= MOST_PROBLEMS:
                raise
            self.problems.append(str(error))

    def load(self) -> DatasetDict:
        """The task's `DatasetDict`: columns `input`, `target`, `group`, `id` (and `bag`)."""
        from benchmark.prepare import load_prepared

        return load_prepared(self)


def folds(number: int) -> tuple[str, ...]:
    """The splits of a dataset with official folds: every fold is the test split once, the others
    are its training data; scores are averaged over folds."""
    return tuple(f"fold-{index}" for index in range(1, number + 1))


def runs(number: int) -> tuple[str, ...]:
    """The splits of a dataset that consists of independent runs, each with a training and a test
    split of its own, as published few-shot settings do; scores are averaged over runs."""
    return tuple(f"run-{i}-{part}" for i in range(1, number + 1) for part in ("train", "test"))
