"""linear-probe: one linear layer on frozen embeddings, penalty chosen without test data."""

from __future__ import annotations

from typing import ClassVar

from benchmark.protocols.checks import check_splits, samples, sizes
from benchmark.protocols.contract import Protocol, Scores, Split
from benchmark.protocols.probing import probe_splits
from benchmark.protocols.scoring import measure
from benchmark.task import TaskCard


class LinearProbeProtocol(Protocol):
    """Multinomial or one-vs-rest logistic regression, or ridge, over the whole penalty path.

    Embeddings are standardised by training statistics; the penalty is chosen by the card's metric
    on the validation split, else by 5-fold group cross-validation inside train; then the probe is
    refitted on train + validation. Frames, segmentation, bags and encoders that offer their layers
    have their own files beside this one.
    """

    name = "linear-probe"
    targets: ClassVar[tuple[str, ...]] = (
        "multiclass", "multilabel", "regression", "frames", "segmentation", "bags",
    )  # fmt: skip

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
        splits = {"train": train, "validation": validation, "test": test}
        check_splits(splits, task, self.name, self.targets, encoder)
        kind = task.target.kind
        if kind == "frames":
            from benchmark.protocols.frames import probe_frames as special
        elif kind == "segmentation":
            if train.points is not None:
                from benchmark.protocols.parts import probe_parts as special
            else:
                from benchmark.protocols.segmentation import probe_patches as special
        elif kind == "bags":
            from benchmark.protocols.bags import probe_bags as special
        elif train.layers is not None:
            from benchmark.protocols.layers import probe_layers as special
        else:
            return probe_clips(
                train, validation, test, task, seed=seed, device=device, encoder=encoder
            )
        return special(train, validation, test, task, seed=seed, device=device, encoder=encoder)


def probe_clips(
    train: Split,
    validation: Split | None,
    test: Split,
    task: TaskCard,
    *,
    seed: int,
    device: str,
    encoder: str,
) -> Scores:
    """The probe on one embedding per example."""
    probed = probe_splits(train, validation, task, seed=seed, device=device, encoder=encoder)
    return measure(task, test, probed.predict(samples(test)), seed).scores(
        task.metric,
        hyperparameters=probed.hyperparameters(),
        counts=sizes(train, validation, test),
    )
