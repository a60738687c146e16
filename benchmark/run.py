"""Evaluate one unit of a plan: embed what is needed, run the protocols, write the results."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from benchmark.catalog import load_task
from benchmark.corpora import seen_in_pretraining
from benchmark.errors import SslBenchError
from benchmark.events import Event, Pace, RunOptions, Tell
from benchmark.known import Known, encoder_recipe
from benchmark.plan import EncoderRef, Unit
from benchmark.planning.throughput import Measurement, record
from benchmark.prepare import data_identity, fingerprints
from benchmark.protocols import protocol
from benchmark.results import (
    Cost,
    EncoderInfo,
    Metric,
    ProtocolInfo,
    Result,
    TaskInfo,
    pack,
    write_result,
)
from benchmark.rounds import independent_runs, rounds, splits_read

if TYPE_CHECKING:
    from benchmark.embed import Embeddings, EmbedOptions
    from benchmark.encoder import Kind, LoadedEncoder
    from benchmark.protocols.contract import Scores, Split
    from benchmark.task import Task


def run_unit(unit: Unit, options: RunOptions, tell: Tell) -> None:
    """Evaluate one encoder on the tasks of one source; what is already known is reused.

    A protocol that cannot be run is told as a skip; an encoder or dataset that fails is told as a
    failure and does not touch the others.
    """
    session = _Session(unit.encoder, options, tell)
    for task, protocols in unit.jobs:
        try:
            session.run_task(load_task(task, options.data_dir), protocols)
        except Exception as error:
            tell(Event("failure", unit.encoder.name, task, failure_detail(error)))


def failure_detail(error: Exception) -> str:
    """What the user is told of a task that fails, in one line.

    Raises:
        Exception: the error itself where it was not foreseen and SSL_BENCH_DEBUG is set.
    """
    if isinstance(error, SslBenchError):
        return str(error)
    if isinstance(error, ImportError):
        package = (error.name or "").partition(".")[0]
        remedy = f"pip install {package}" if package else "install what it names"
        return f"a package is missing ({error}): {remedy}"
    if os.environ.get("SSL_BENCH_DEBUG"):
        raise error
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"[:400]
    return f"{text} (SSL_BENCH_DEBUG=1 shows where)"


class _Session:
    """One encoder at work: loaded when first needed, embeddings kept for the tasks of its unit."""

    def __init__(self, ref: EncoderRef, options: RunOptions, tell: Tell) -> None:
        self.ref = ref
        self.options = options
        self.tell = tell
        self.embedded: dict[tuple[str, ...], Embeddings] = {}
        self.source = ""
        self._embedding = 0.0  # seconds spent on it so far

    def run_task(self, task: Task, protocols: tuple[str, ...]) -> None:
        if task.source != self.source:
            self.embedded.clear()
            self.source = task.source
        recipe = encoder_recipe(self.ref, self.options.seed)
        known = Known(self.ref, task, recipe or self._encoder().digest, self.options, self.tell)
        # A text tower may lack its vocabulary: what needs none is done first.
        for name in sorted(protocols, key=lambda name: name == "zero-shot"):
            if not known.tell(name):
                self._compute(task, name, known)

    def _encoder(self) -> LoadedEncoder:
        return loaded(self.ref, self.options.seed)

    def _compute(self, task: Task, name: str, known: Known) -> None:
        from benchmark.splits import task_kind

        encoder = self._encoder()
        started = time.perf_counter() - self._embedding
        kind, reason = task_kind(task.card, name, encoder)
        if kind is None:
            known.keep_skip(name, reason)
            return
        texts = None
        if name == "zero-shot":
            from benchmark.splits import class_texts

            texts = class_texts(encoder, task)
        splits, cost = self._splits(task, kind, protocol(name).reads)
        tested = [found.test for found in rounds(task)]
        for split in tested:
            splits[split].class_texts = texts
            if name == "retrieval" and encoder.offers("towers"):
                splits[split].towers = self._towers(task, split)
        self.tell(Event("score", self.ref.name, task.card.name, name))
        begun = time.perf_counter()
        scores = self._score(task, name, splits)
        cost |= {"probe_seconds": round(time.perf_counter() - begun, 3)}
        dimension = int(splits[tested[0]].embeddings.shape[-1])
        o, lasted = self.options, time.perf_counter() - self._embedding - started
        record(
            Measurement(
                "score",
                round(lasted, 4),
                encoder=encoder.name,
                task=task.card.name,
                detail=name,
                device=o.device.partition(":")[0],
                threads=o.threads,
            )
        )
        path = known.path(name, "json")
        result = _result(path.stem, encoder, dimension, task, name, scores, self.options, cost)
        write_result(result, path.parent, path.name)
        if self.options.out is not None:
            write_result(result, self.options.out / "results")
        self.tell(Event("result", self.ref.name, task.card.name, name, result=result))

    def _score(self, task: Task, name: str, splits: dict[str, Split]) -> Scores:
        from benchmark.cross_validation import join, mean_scores

        def score(train: Sequence[str], validation: str | None, test: str) -> Scores:
            learnt = [splits[split] for split in train if split in splits]
            return protocol(name).run(
                join(learnt) if learnt and "train" in protocol(name).reads else splits[test],
                splits.get(validation) if validation else None,
                splits[test],
                task.card,
                seed=self.options.seed,
                device=self.options.device,
                encoder=self._encoder().name,
            )

        plan = rounds(task)
        found = [score(*names) for names in plan]
        if len(found) == 1:
            return found[0]
        tested = [splits[names.test] for names in plan]
        seed = self.options.seed
        return mean_scores(found, tested, seed, independent=independent_runs(task))

    def _splits(
        self, task: Task, kind: Kind, read: Sequence[str]
    ) -> tuple[dict[str, Split], dict[str, Any]]:
        from benchmark.splits import build_split

        splits, seconds, samples = {}, 0.0, 0
        for split in splits_read(task, read):
            embedded = self._embed(task, split, kind)
            splits[split] = build_split(task, split, embedded.arrays, kind, self._encoder())
            seconds += embedded.seconds
            samples += embedded.count
        rate = round(samples / seconds, 2) if seconds else None
        return splits, {"embed_seconds": round(seconds, 3), "samples_per_second": rate}

    def _towers(self, task: Task, split: str) -> dict[str, Any]:
        from benchmark.splits import build_split

        arrays = self._embed(task, split, "towers").arrays
        return build_split(task, split, arrays, "towers", self._encoder()).towers

    def _embed(self, task: Task, split: str, kind: Kind) -> Embeddings:
        from benchmark.embed import embed_split
        from benchmark.prepare import open_source
        from benchmark.store import open_store

        key = (task.source, ",".join(task.card.towers), split, kind)
        if key in self.embedded:
            return self.embedded[key]
        o = self.options

        def progress(done: int, total: int) -> None:
            self.tell(Event("embed", self.ref.name, task.card.name, split, done, total))

        started = time.perf_counter()
        self.embedded[key] = embed_split(
            self._encoder(),
            open_source(task, split),
            fingerprints(task)[split],
            kind,
            open_store(o.store),
            towers=task.card.towers,
            materialise=task.materialise,
            options=embed_options(o),
            about=about_entry(task, split, kind, o),
            progress=progress,
        )
        found = self.embedded[key]
        if found.computed_shards:  # what reading took counts as scoring
            self._embedding += min(found.seconds, time.perf_counter() - started)
            pace = Pace(found.waiting, found.computing)
            self.tell(Event("pace", self.ref.name, task.card.name, split, pace=pace))
        _measured(self._encoder(), task.source, kind, found, o)
        return found


def _measured(
    encoder: LoadedEncoder, source: str, kind: Kind, found: Embeddings, options: RunOptions
) -> None:
    """Add to the throughput table what embedding took, and how much is stored."""
    stored = sum(int(array.size) * 4 for array in found.arrays.values())
    size = Measurement(
        "size",
        encoder=encoder.name,
        source=source,
        detail=kind,
        examples=found.count,
        bytes=stored,
    )
    record(size)
    if found.computed_shards:
        device = options.device.partition(":")[0]
        record(
            replace(
                size,
                what="embed",
                seconds=round(found.seconds, 4),
                device=device,
                threads=options.threads,
                bytes=0,
            )
        )


def embed_options(options: RunOptions) -> EmbedOptions:
    """How a run embeds."""
    from benchmark.embed import EmbedOptions

    o = options
    fresh, threads = o.fresh and not o.embedded, max(2, o.threads)
    return EmbedOptions(o.device, o.precision, o.batch_size, fresh, o.store_dtype, threads)


def about_entry(task: Task, split: str, kind: Kind, options: RunOptions) -> dict[str, str]:
    """What `cache ls` shows of the embeddings of one split."""
    return {
        "source": task.source,
        "split": split,
        "kind": kind,
        "precision": options.precision,
        "dtype": options.store_dtype,
    }


@lru_cache(maxsize=2)  # units come encoder by encoder; more would fill the memory
def loaded(ref: EncoderRef, seed: int) -> LoadedEncoder:
    """The encoder, loaded once per process and kept while it is in use."""
    from benchmark.encoder import load_encoder

    started = time.perf_counter()
    found = load_encoder(
        ref.name,
        checkpoint=ref.checkpoint,
        init=ref.init,
        modality=ref.modality or None,
        input_options=json.loads(ref.input_options),
        seed=seed,
    )
    record(Measurement("load", round(time.perf_counter() - started, 4), encoder=found.name))
    return found


def _result(
    identity: str,
    encoder: LoadedEncoder,
    dimension: int,
    task: Task,
    name: str,
    scores: Scores,
    options: RunOptions,
    cost: dict[str, Any],
) -> Result:
    from benchmark.provenance import environment, peak_memory_mib
    from benchmark.published import sizes

    card, model = task.card, encoder.card
    return Result(
        identity=identity,
        encoder=EncoderInfo(
            name=encoder.name,
            title=model.title,
            kind=model.kind,
            modality=encoder.modality,
            weights=encoder.weights,
            digest=encoder.digest,
            checkpoint_sha256=encoder.checkpoint_sha256,
            revision=encoder.revision,
            parameters=model.parameters,
            dimension=dimension,
            input=encoder.spec.model_dump(mode="json"),
            licence=model.licence,
            paper=model.paper,
            pretraining=model.pretraining,
            seen_in_pretraining=encoder.weights not in ("none", "random")
            and seen_in_pretraining(card.datasets, model.pretraining_data),
        ),
        task=TaskInfo(
            name=card.name,
            title=card.title,
            version=card.version,
            modality=card.modality,
            target=card.target.kind,
            classes=card.target.classes,
            simulated=card.simulated,
            chance=card.chance if scores.chance is None else scores.chance,
            ceiling=card.ceiling if scores.ceiling is None else scores.ceiling,
            fingerprint=data_identity(task),
            examples=sizes(task) if card.published else {},
            published=card.published,
        ),
        protocol=ProtocolInfo(name=name, version=protocol(name).version),
        metric=scores.main,
        metrics={key: Metric(**asdict(value)) for key, value in scores.metrics.items()},
        per_class=scores.per_class,
        confusion=scores.confusion,
        curve=scores.curve,
        hyperparameters=scores.hyperparameters,
        counts=scores.counts,
        seed=options.seed,
        replicates=pack(scores.replicates),
        environment=environment(
            options.device,
            options.precision,
            options.threads,
            options.batch_size,
            options.store_dtype,
        ),
        cost=Cost(
            **cost,
            peak_memory_mib=peak_memory_mib(options.device),
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
        ),
    )
