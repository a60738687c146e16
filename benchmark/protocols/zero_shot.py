"""zero-shot: inputs and class prompts compared in the embedding space of a text tower."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from benchmark.errors import SslBenchError
from benchmark.protocols.blocks import row_blocks
from benchmark.protocols.checks import check_splits, pooled, samples, sizes
from benchmark.protocols.contract import Protocol, Scores, Split
from benchmark.protocols.scoring import measure
from benchmark.protocols.selection import softmax
from benchmark.task import TaskCard

LOGIT_SCALE = 100.0


class ZeroShotProtocol(Protocol):
    """Cosine between the input embedding and the mean of its class prompts' text embeddings.

    Multiclass: the nearest class; one-vs-rest AUROC uses softmax(100 cos), CLIP's logit scale
    (Radford et al. 2021). Multilabel: the cosine ranks examples per class; there is no threshold to
    choose without labels, so F1 is not reported. Train and validation are not used.
    """

    name = "zero-shot"
    targets: ClassVar[tuple[str, ...]] = ("multiclass", "multilabel", "bags")
    reads: ClassVar[tuple[str, ...]] = ("test",)

    def run(
        self,
        train: Split,
        validation: Split | None,
        test: Split,
        task: TaskCard,
        *,
        seed: int = 0,
        device: str = "cpu",
        encoder: str = "encoder",
    ) -> Scores:
        check_splits({"test": test}, task, self.name, self.targets, encoder)
        if test.class_texts is None:
            raise SslBenchError(
                f"{encoder} has no text tower (`encode_text`): no zero-shot score on {task.name}"
            )
        texts = np.asarray(test.class_texts, dtype=np.float64)
        test = pooled(test)
        inputs = samples(test)
        if texts.shape != (len(task.target.classes), inputs.shape[1]):
            raise SslBenchError(
                f"{encoder} on {task.name}: text embeddings have shape {texts.shape}, expected "
                f"{(len(task.target.classes), inputs.shape[1])} (classes, width of the embeddings)"
            )
        if not np.isfinite(texts).all():
            bad = task.target.classes[int(np.flatnonzero(~np.isfinite(texts).all(1))[0])]
            raise SslBenchError(
                f"encoder {encoder} returned NaN or infinity for the prompts of class {bad!r}"
            )
        cosine = np.empty((len(test), len(texts)))
        for rows, block in row_blocks(inputs):
            cosine[rows] = _unit(block.astype(np.float64)) @ _unit(texts).T
        multilabel = task.target.kind == "multilabel"
        measured = measure(
            task, test, cosine if multilabel else softmax(LOGIT_SCALE * cosine), seed
        )
        if multilabel:
            measured.estimates.pop("macro_f1", None)
            for row in measured.per_class.values():
                for key in ("f1", "recall"):
                    row.pop(key, None)
        return measured.scores(
            task.metric,
            hyperparameters={"logit_scale": LOGIT_SCALE},
            counts=sizes(None, None, test),
        )


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
