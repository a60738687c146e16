"""The starter suite as a whole: six domains, real and simulated told apart, right scores."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from benchmark.catalog import encoder_cards, load_task
from benchmark.events import Event, RunOptions
from benchmark.modalities import MODALITIES
from benchmark.paths import store_root
from benchmark.plan import EncoderRef, Unit, suites
from benchmark.prepare import fingerprints, open_source
from benchmark.run import loaded, run_unit
from benchmark.splits import build_split
from benchmark.store import EmbeddingStore

ROOT = Path(__file__).resolve().parents[1]
STARTER = suites()["starter"]


@pytest.mark.parametrize("modality", MODALITIES)
def test_every_domain_has_two_tasks_a_feature_encoder_and_a_control(modality: str) -> None:
    tasks = [card for card in STARTER if card.modality == modality]
    assert len(tasks) >= 2
    assert all(card.access == "embedded" for card in tasks)
    kinds = {card.kind for card in encoder_cards().values() if card.modality == modality}
    assert kinds >= {"features", "control"}


def test_the_suite_covers_every_protocol_and_the_targets_of_the_engine() -> None:
    protocols = {name for card in STARTER for name in card.protocols}
    assert protocols == {
        "linear-probe", "knn", "few-shot", "zero-shot", "label-efficiency", "retrieval", "anomaly"
    }  # fmt: skip
    kinds = {card.target.kind for card in STARTER}
    assert kinds == {"multiclass", "multilabel", "regression", "frames", "segmentation", "bags"}


def test_what_is_simulated_says_so_in_its_card() -> None:
    for card in STARTER:
        word = "simulated" if card.simulated else "real"
        assert word in f"{card.title} {card.prose}".lower(), card.name
    real = {card.modality for card in STARTER if not card.simulated}
    assert real == {"audio", "pointcloud", "astronomy"}


def test_the_embedded_data_is_a_few_megabytes() -> None:
    files = [path for path in (ROOT / "tasks").glob("*/data/*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 10e6


@pytest.mark.long
def test_the_engine_scores_what_scikit_learn_scores(tmp_path: Path) -> None:
    """The stored embeddings, fitted by scikit-learn at the penalty that the probe chose."""
    from benchmark.embed import embed_split

    reference = EncoderRef("random-pointnet", "pointcloud")
    events: list[Event] = []
    jobs = (("furniture20", ("linear-probe",)),)
    run_unit(Unit(reference, jobs), RunOptions(tmp_path), events.append)
    (result,) = [event.result for event in events if event.result is not None]
    task, encoder = load_task("furniture20"), loaded(reference, 0)
    x, y = {}, {}
    for split in task.splits:
        arrays = embed_split(
            encoder,
            open_source(task, split),
            fingerprints(task)[split],
            "clip",
            EmbeddingStore(store_root()),
        ).arrays
        built = build_split(task, split, arrays, "clip", encoder)
        x[split], y[split] = built.embeddings, built.targets
    x["fit"] = np.concatenate([x["train"], x["validation"]])
    y["fit"] = np.concatenate([y["train"], y["validation"]])
    scaler = StandardScaler().fit(x["fit"])
    model = LogisticRegression(C=result.hyperparameters["penalty"], tol=1e-8, max_iter=5000).fit(
        scaler.transform(x["fit"]), y["fit"]
    )
    accuracy = model.score(scaler.transform(x["test"]), y["test"])
    assert result.score.value == pytest.approx(accuracy, abs=1.5 / len(y["test"]))
