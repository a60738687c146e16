"""The linear probe fitted on splits, with its choice of penalty and its predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.probe import PENALTIES, LinearProbe, fit_probe
from benchmark.protocols.checks import samples
from benchmark.protocols.contract import Split
from benchmark.protocols.selection import as_array, selection_score, softmax
from benchmark.sharded import ArrayOnDisk
from benchmark.task import TaskCard

Array = NDArray[Any]
FOLDS = 5


@dataclass
class Probed:
    """A fitted probe; `selected` is its score where the penalty was chosen (higher is better)."""

    probe: LinearProbe
    kind: str
    selected: float

    def predict(self, embeddings: Array) -> Array:
        """(N, D) to probabilities (N, C) for multiclass and multilabel, values (N,) else."""
        if not isinstance(embeddings, ArrayOnDisk):
            embeddings = np.ascontiguousarray(embeddings, np.float32)
        decision = as_array(self.probe.decision(embeddings))
        if self.kind == "multiclass":
            return softmax(decision)
        if self.kind == "multilabel":
            from scipy.special import expit

            return np.asarray(expit(decision))
        return decision.reshape(len(decision), -1)[:, 0]

    def hyperparameters(self) -> dict[str, Any]:
        return {
            "penalty": float(self.probe.penalty),
            "selection": str(self.probe.selection),
            "selection_score": self.selected,
        }


def probe_kind(task: TaskCard) -> str:
    """The solver's kind for a task: bags are multiclass."""
    return "multiclass" if task.target.kind == "bags" else str(task.target.kind)


def probe_splits(
    train: Split,
    validation: Split | None,
    task: TaskCard,
    *,
    seed: int,
    device: str,
    encoder: str,
    penalties: Any = PENALTIES,
) -> Probed:
    """Fit the probe of a clip-level task on train, choose its penalty, refit on train + validation.

    The penalty is chosen by the card's metric on the validation split, else by group
    cross-validation inside train.
    """
    kind = probe_kind(task)
    given = None
    if validation is not None:
        given = samples(validation), _targets(validation, kind)
    probe = fit_probe(
        samples(train),
        _targets(train, kind),
        kind=kind,
        n_classes=len(task.target.classes) or None,
        validation=given,
        groups=np.asarray(train.groups),
        score=selection_score(task.metric, kind, task.target),
        penalties=penalties,
        folds=FOLDS,
        seed=seed,
        device=device,
        name=encoder,
        ids=train.ids,  # type: ignore[arg-type]
    )
    return Probed(probe, kind, best_score(probe))


def best_score(probe: LinearProbe) -> float:
    """The chosen penalty's score; -inf where nothing was chosen."""
    scores = probe.selection_scores
    return float("-inf") if scores is None or not np.size(scores) else float(np.max(scores))


def _targets(split: Split, kind: str) -> Array:
    return np.asarray(split.targets, dtype=np.int64 if kind == "multiclass" else np.float32)
