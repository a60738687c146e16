"""What a worker asks for follows from the size of its encoder."""

from pathlib import Path

import pytest

from benchmark.catalog import EncoderCard
from benchmark.executors import resources
from benchmark.executors.resources import GIB, Shape, modest, shape_of
from benchmark.plan import EncoderRef


@pytest.fixture(autouse=True)
def cards(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"tiny": 5_000_000, "base": 90_000_000, "large": 300_000_000, "unknown": None}
    known = {
        name: EncoderCard(name, "m:C", "audio", name, parameters=size)
        for name, size in sizes.items()
    }
    known["mfcc"] = EncoderCard("mfcc", "m:C", "audio", "mfcc", kind="features")
    monkeypatch.setattr(resources, "encoder_cards", lambda: known)


@pytest.mark.parametrize(
    ("name", "gpus", "memory"),
    [
        ("tiny", 0.25, 2),
        ("mfcc", 0.25, 2),
        ("base", 0.5, 4),
        ("large", 1.0, 8),
        ("unknown", 1.0, 2),
        ("encoder.py:Mine", 1.0, 2),
    ],
)
def test_the_larger_the_more(name: str, gpus: float, memory: int) -> None:
    assert shape_of(EncoderRef(name, "audio"), "cuda", 4) == Shape(4, gpus, memory * GIB)
    assert shape_of(EncoderRef(name, "audio"), "cpu", 1) == Shape(1, 0.0, memory * GIB)


def test_a_checkpoint_tells_its_size(tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    with weights.open("wb") as file:
        file.truncate(400_000_000)
    assert shape_of(EncoderRef("tiny", "audio", weights), "cuda", 1).gpus == 0.5


def test_how_many_fit_on_a_node() -> None:
    node = {"CPU": 16.0, "GPU": 2.0, "memory": 20.0 * GIB}
    assert Shape(1, 0, 2 * GIB).fits(node) == 10
    assert Shape(1, 0.25, GIB).fits(node) == 8
    assert Shape(4, 1, GIB).fits(node) == 2
    assert Shape(32, 0, GIB).fits(node) == 0
    assert Shape(1, 1, GIB).fits({"CPU": 4.0, "memory": 1e12}) == 0


def test_an_estimate_does_not_keep_a_run_from_being_tried() -> None:
    nodes = [{"memory": 2.0 * GIB}, {"memory": 4.0 * GIB}]
    assert modest(Shape(1, 0, 8 * GIB), nodes).fits({"CPU": 1, **nodes[1]}) == 1
