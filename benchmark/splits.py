"""From a prepared dataset and stored embeddings to the arrays a protocol sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import DatasetError
from benchmark.inputs import PointCloudInput
from benchmark.prepare import decode, labelled_rows, open_source, read_row
from benchmark.protocols.contract import Split, layer
from benchmark.sharded import ArrayOnDisk, rows_of

if TYPE_CHECKING:
    from datasets import Dataset

    from benchmark.encoder import Kind, LoadedEncoder
    from benchmark.store import Arrays
    from benchmark.task import Task, TaskCard


NO_TEXT_TOWER = "the encoder has no text tower (encode_text)"


def task_kind(card: TaskCard, protocol: str, encoder: LoadedEncoder) -> tuple[Kind | None, str]:
    """Which output of the encoder a protocol needs for a kind of target, or why there is none."""
    target = card.target.kind
    taken = getattr(encoder.spec, "towers", None)
    if card.towers and taken is not None and not set(card.towers) & set(taken):
        return None, f"the encoder takes {', '.join(taken)}; the task has {', '.join(card.towers)}"
    if target == "frames":
        if encoder.frame_rate is None:
            return None, "the encoder gives no frames (frames() and frame_rate)"
        return "frames", ""
    if target == "segmentation":
        if not encoder.offers("patches"):
            return None, "the encoder gives no patches (patches())"
        return "patches", ""
    if protocol == "zero-shot" and not callable(getattr(encoder.module, "encode_text", None)):
        return None, NO_TEXT_TOWER
    if protocol == "zero-shot" and encoder.offers("joint"):
        return "joint", ""
    if protocol == "linear-probe" and target != "bags" and encoder.offers("layers"):
        return "layers", ""
    return "clip", ""


def read_targets(task: Task, split: str) -> tuple[Dataset, NDArray[np.intp], Any]:
    """The source's rows, the indices of those in the task, and their targets.

    Raises:
        DatasetError: a label outside the class list; trials that name no example of the split.
    """
    data = open_source(task, split)
    rows = labelled_rows(task, split, data)
    target = task.card.target
    column = data.data.column(target.column)
    if target.kind in ("multiclass", "bags"):
        labels = column.to_numpy()[rows].astype(np.int64)
        if labels.min() < 0 or labels.max() >= len(target.classes):
            bad = rows[(labels < 0) | (labels >= len(target.classes))][0]
            raise DatasetError(
                f"{task.card.name}: label {column[bad].as_py()} of {data[int(bad)]['id']!r} is not "
                f"one of the card's {len(target.classes)} classes"
            )
        return data, rows, labels
    if target.kind == "regression":
        return data, rows, column.to_numpy()[rows].astype(np.float64)
    values = [decode(column[int(row)]) for row in rows]
    if target.kind == "pairs":
        _check_trials(task, split, data, rows, values)
    return data, rows, np.stack(values) if target.kind == "multilabel" else values


def _check_trials(
    task: Task, split: str, data: Dataset, rows: NDArray[np.intp], trials: list[NDArray[Any]]
) -> None:
    """Trials count positions in the whole split, so every example has to be there.

    Raises:
        DatasetError: some examples have no list of trials; a position or a label that cannot be.
    """
    name = task.card.name
    if len(rows) != len(data):
        raise DatasetError(
            f"{name}: {len(data) - len(rows)} of {len(data)} examples of {split} have no list of "
            "trials, so the positions in the others' lists would not hold: yield an empty (0, 2) "
            "array for an example without trials"
        )
    for row, listed in zip(rows, trials, strict=True):
        shaped = listed.ndim == 2 and listed.shape[1] == 2
        if not shaped or ((listed < 0) | (listed >= [len(data), 2])).any():
            raise DatasetError(
                f"{name}: the trials of {data[int(row)]['id']!r} are not (n, 2) with positions "
                f"below {len(data)} and labels 0 or 1"
            )


def build_split(
    task: Task, split: str, arrays: Arrays, kind: Kind, encoder: LoadedEncoder
) -> Split:
    """One split's arrays, restricted to the rows of the task."""
    data, rows, targets = read_targets(task, split)
    embedded = len(next(iter(arrays.values() if kind != "frames" else [arrays["counts"]])))
    if embedded != len(data):
        raise DatasetError(
            f"{task.card.name}: {embedded} embeddings for {len(data)} examples of {split}; "
            "evaluate again with --fresh"
        )

    def text(name: str) -> NDArray[Any]:
        return data.data.column(name).to_numpy()[rows].astype(str)

    built = Split(
        embeddings=np.empty((0, 0), np.float32),
        targets=targets,
        groups=text("group"),
        ids=text("id"),
        bags=text("bag") if task.card.target.kind == "bags" else None,
    )
    if kind == "frames":
        built.embeddings, built.frame_offsets = _frames(arrays, rows)
        built.frame_rate = encoder.frame_rate
    elif kind == "layers":
        built.layers = _rows(arrays["values"], rows)
        built.embeddings = layer(built.layers, built.layers.shape[1] - 1)
    elif kind == "towers":
        built.towers = {name: _rows(array, rows) for name, array in arrays.items()}
    else:
        built.embeddings = _rows(arrays["values"], rows)
    if "centres" in arrays:
        built.centres = arrays["centres"][rows]
        built.points = _PlacedPoints(task, data, rows, encoder)
    return built


def _rows(values: Any, rows: NDArray[np.intp]) -> Any:
    """As `rows_of`; the whole of an array on the disk is read in spans, not row by row."""
    whole = isinstance(values, ArrayOnDisk) and len(rows) == len(values)
    return values if whole else rows_of(values, rows)


class _PlacedPoints(Sequence[NDArray[Any]]):
    """The points (n, 3) of every shape as the encoder's input specification places them, read from
    the prepared file when asked for."""

    def __init__(
        self, task: Task, data: Dataset, rows: NDArray[np.intp], encoder: LoadedEncoder
    ) -> None:
        self.task, self.data, self.rows = task, data, rows
        self.place = cast(PointCloudInput, encoder.spec).placed

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        stored = read_row(self.data, int(self.rows[index]))["input"]
        return self.place(self.task.materialise(stored)["points"])


def _frames(arrays: Arrays, rows: NDArray[np.intp]) -> tuple[Any, NDArray[np.intp]]:
    """Frames of the chosen rows, (sum of T', D), and their offsets, (N + 1,)."""
    starts = np.concatenate([[0], np.cumsum(arrays["counts"])])
    counts = arrays["counts"][rows]
    offsets = np.concatenate([[0], np.cumsum(counts)])
    if len(rows) == len(arrays["counts"]):
        return arrays["values"], offsets
    taken = np.concatenate([np.arange(starts[row], starts[row + 1]) for row in rows])
    return _rows(arrays["values"], taken), offsets


def class_texts(encoder: LoadedEncoder, task: Task) -> NDArray[np.float32]:
    """(C, D): per class the mean of its prompts' L2-normalised text embeddings.

    A class without prompts in the card is prompted with its name, in the encoder's own sentences
    (`prompt_templates`, with {} for the name) where it has some, else in the card's `prompt`.
    """
    import torch

    target = task.card.target
    templates = getattr(encoder.module, "prompt_templates", (target.prompt,))
    rows = []
    for name in target.classes:
        label = name.replace("_", " ").replace("-", " ")
        prompts = list(target.prompts.get(name) or (t.replace("{}", label) for t in templates))
        with torch.inference_mode():
            texts = encoder.module.encode_text(prompts).float().cpu()  # type: ignore[operator]
        rows.append(torch.nn.functional.normalize(texts, dim=-1).mean(0).numpy())
    return np.stack(rows)
