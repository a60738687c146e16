"""Zero-shot in every domain, and retrieval across towers, through the engine's own evaluation.

Untrained and shallow copies of the published encoders on a few examples of starter tasks: what is
looked at is the way from card, data and text tower to a score, not the score's size.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import islice, permutations
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from rich.console import Console
from scipy.special import softmax
from sklearn.metrics import confusion_matrix, roc_auc_score
from sklearn.metrics.pairwise import cosine_similarity
from torch.nn.functional import normalize

from baselines.ecg.merl_text import Tokenizer
from baselines.histopathology import conch_text
from benchmark import run
from benchmark.catalog import encoder_card, load_task
from benchmark.check import example_inputs
from benchmark.encoder import LoadedEncoder, load_encoder
from benchmark.events import Event, RunOptions
from benchmark.forward import call
from benchmark.plan import EncoderRef, Skip, Unit
from benchmark.report.page import write_page
from benchmark.report.tables import results_table
from benchmark.results import Result
from benchmark.task import Task

ENCODERS = {  # task, and which of its test examples are taken
    "clap": ("oneshot-family", slice(0, 30, 6)),
    "ulip": ("furniture20", slice(0, 80, 8)),
    "echoclip": ("echo-sim-view", slice(0, 8)),
    "merl": ("ecg-sim-rhythm", slice(0, 10)),
    "merl-vit-tiny": ("ecg-sim-rhythm", slice(0, 10)),
    "plip": ("he-sim-tissue", slice(0, 48, 5)),
    "conch": ("he-sim-tissue", slice(0, 48, 5)),
}


class Few(Task):
    """A task with the first two training examples of another and some of its test examples."""

    splits = ("train", "test")

    def __init__(self, whole: Task, taken: slice, **target: Any) -> None:
        changed = whole.card.target.model_copy(update=target)
        super().__init__(whole.card.model_copy(update={"target": changed}))
        self.whole, self.taken = whole, taken
        self.source = f"few-{whole.source}"

    def examples(self, split: str) -> Iterator[Mapping[str, Any]]:
        taken = self.taken if split == "test" else slice(2)
        return islice(self.whole.examples(split), taken.start, taken.stop, taken.step)


class Stars(Task):
    """Six stars with all three towers."""

    source, splits = "few-stars", ("test",)

    def examples(self, split: str) -> Iterator[Mapping[str, Any]]:
        inputs = [x for seed in (0, 1) for x in example_inputs(small("astrom3"), seed)][:6]
        for index, example in enumerate(inputs):
            given = {name: example[name] for name in self.card.towers}
            yield {"id": f"{index}", "group": f"{index}", "input": given, "type": index % 2}


@cache
def small(name: str) -> LoadedEncoder:
    published = encoder_card(name).kind == "pretrained"
    return load_encoder(name, init="random" if published else None, reduced=published)


@pytest.fixture
def evaluate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Event]]:
    """Tells what comes of protocols for a small encoder on a task, through the engine."""
    monkeypatch.setattr(run, "loaded", lambda ref, seed: small(ref.name))

    def carry_out(name: str, task: Task, *protocols: str) -> list[Event]:
        told: list[Event] = []
        monkeypatch.setattr(run, "load_task", lambda *_: task)
        reference = EncoderRef(name, task.card.modality, init="random")
        unit = Unit(reference, ((task.card.name, protocols),))
        run.run_unit(unit, RunOptions(tmp_path / "run"), told.append)
        return told

    return carry_out


def the_result(told: list[Event]) -> Result:
    assert [e.detail for e in told if e.phase in ("failure", "skip")] == []
    (result,) = [event.result for event in told if event.result is not None]
    return result


def each(encoder: LoadedEncoder, task: Task, method: str) -> list[Any]:
    """The encoder's output for each test example by itself, averaged over its windows by length."""
    outputs = []
    for example in task.examples("test"):
        windows = encoder.spec.windows(example["input"])
        with torch.inference_mode():
            out = call(encoder.module, method, encoder.spec.collate(windows))
        if isinstance(out, torch.Tensor):
            weights = torch.tensor([window.length for window in windows], dtype=torch.double)
            out = (weights / weights.sum()) @ out.double()
        outputs.append(out)
    return outputs


@pytest.mark.long
@pytest.mark.parametrize("name", ENCODERS)
def test_the_nearest_prompts_decide_and_move_with_their_classes(name, evaluate) -> None:
    on, taken = ENCODERS[name]
    whole, encoder = load_task(on), small(name)
    assert "zero-shot" in whole.card.protocols
    column, classes = whole.card.target.column, whole.card.target.classes
    prompts = [whole.card.target.prompts[label] for label in classes]
    few = Few(whole, taken)
    labels = [example[column] for example in few.examples("test")]
    kept = [index for index, label in enumerate(labels) if label is not None]
    truth = np.array([labels[index] for index in kept])
    outputs = each(encoder, few, "joint" if encoder.offers("joint") else "forward")
    inputs = torch.stack([outputs[index] for index in kept])
    with torch.inference_mode():
        texts = [encoder.module.encode_text(list(given)) for given in prompts]
    means = torch.stack([normalize(rows.double(), dim=1).mean(0) for rows in texts])
    confusions = []
    for first in (0, 1):  # then every class has the prompts of the next
        moved = dict(zip(classes, [*prompts[first:], *prompts[:first]], strict=True))
        result = the_result(evaluate(name, Few(whole, taken, prompts=moved), "zero-shot"))
        assert result.protocol.name == "zero-shot"
        assert result.metric == whole.card.metric
        assert result.score.low <= result.score.value <= result.score.high
        cosines = cosine_similarity(inputs, means.roll(-first, 0))
        expected = confusion_matrix(truth, cosines.argmax(1), labels=range(len(classes)))
        np.testing.assert_array_equal(result.confusion, expected)
        odds = softmax(100 * cosines, axis=1)
        for label in set(truth):
            auroc = roc_auc_score(truth == label, odds[:, label])
            assert result.per_class[classes[label]]["auroc"] == pytest.approx(auroc, abs=1e-6)
        confusions.append(np.array(result.confusion))
    np.testing.assert_array_equal(confusions[1], np.roll(confusions[0], -1, axis=1))
    assert (confusions[1] != confusions[0]).any()


@pytest.mark.long
def test_without_a_text_tower_there_is_no_score_and_table_and_page_say_so(
    evaluate, tmp_path
) -> None:
    task = Few(load_task("furniture20"), slice(0, 80, 8))
    scored = the_result(evaluate("ulip", task, "zero-shot"))
    told = evaluate("random-pointnet", task, "zero-shot", "retrieval")
    results = [event.result for event in told if event.result is not None]
    assert [result.protocol.name for result in results] == ["retrieval"]
    (skip,) = [event for event in told if event.phase == "skip"]
    assert skip.detail == "zero-shot: the encoder has no text tower (encode_text)"
    protocol, _, reason = skip.detail.partition(": ")
    results.append(scored)
    console = Console(file=io.StringIO(), width=200)
    console.print(results_table(results, [Skip(skip.encoder, skip.task, protocol, reason)]))
    shown = console.file.getvalue()
    assert "no zero-shot score, for want of a text tower: random-pointnet" in shown
    page = write_page(results, tmp_path / "page.html", "a run").read_text()
    assert "No zero-shot score, which takes a text tower: random-pointnet." in page


@pytest.mark.parametrize(
    ("name", "tokenizer", "file"),
    [
        ("clap", "hub", "vocab.json"),
        ("merl", Tokenizer("hub"), "tokenizer.json"),
        ("conch", "published", conch_text.VOCABULARY),
    ],
)
def test_a_missing_vocabulary_is_one_line_and_costs_only_the_zero_shot_score(
    name, tokenizer, file, evaluate, monkeypatch, tmp_path
) -> None:
    def offline(*_: Any, **__: Any) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(conch_text, "urlopen", offline)
    monkeypatch.setattr("benchmark.hub._reachable", lambda: False)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.setattr(small(name).module, "tokenizer", tokenizer)
    on, taken = ENCODERS[name]
    told = evaluate(name, Few(load_task(on), taken), "zero-shot", "knn")
    (failure,) = [event.detail for event in told if event.phase == "failure"]
    assert file in failure
    assert name in failure
    assert "https://" in failure
    assert "\n" not in failure
    assert [e.result.protocol.name for e in told if e.result is not None] == ["knn"]


def test_astrom3_finds_a_star_in_every_other_tower(evaluate) -> None:
    """Each direction's mean of 1 / rank of the star itself, as the towers' cosines have it."""
    card = load_task("astrom3-all").card
    assert "retrieval" in card.protocols
    target = card.target.model_copy(update={"classes": card.target.classes[:2]})
    task = Stars(card.model_copy(update={"target": target}))
    result = the_result(evaluate("astrom3", task, "retrieval"))
    assert result.score.low <= result.score.value <= result.score.high
    outputs = each(small("astrom3"), task, "towers")
    towers = {name: torch.cat([out[name] for out in outputs]) for name in card.towers}
    assert len(towers) == 3
    for queries, answers in permutations(towers, 2):
        cosines = cosine_similarity(towers[queries], towers[answers])
        ranks = (cosines >= cosines.diagonal()[:, None] - 1e-6).sum(1)
        way = f"({queries} to {answers})"
        pair = result.metrics[f"pair_map {way}"]
        assert pair.value == pytest.approx((1 / ranks).mean(), abs=1e-6)
        assert pair.low <= pair.value <= pair.high
        assert {f"map {way}", f"recall@1 {way}", f"pair_recall@1 {way}"} <= result.metrics.keys()
