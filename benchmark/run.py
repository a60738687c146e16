"""Evaluate one unit of a plan: embed what is needed, run the protocols, write the results."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.catalog import encoder_cards, load_task
from benchmark.errors import SslBenchError
from benchmark.paths import cache_root, store_root
from benchmark.plan import EncoderRef, Unit
from benchmark.prepare import data_identity, fingerprints, prepared_folder
from benchmark.protocols import protocol
from benchmark.results import (
    Cost,
    EncoderInfo,
    Metric,
    ProtocolInfo,
    Result,
    TaskInfo,
    pack,
    read_result,
    write_result,
)

if TYPE_CHECKING:
    from benchmark.embed import Embeddings
    from benchmark.encoder import Kind, LoadedEncoder
    from benchmark.protocols.contract import Scores, Split
    from benchmark.task import Task

log = logging.getLogger("ssl_bench")


@dataclass(frozen=True)
class RunOptions:
    """How a run is done."""

    out: Path
    data_dir: Path | None = None
    device: str = "cpu"
    precision: str = "float32"
    batch_size: int = 32
    seed: int = 0
    fresh: bool = False


@dataclass(frozen=True)
class Event:
    """What is told while a plan is carried out: `phase` is prepare, prepared, embed, score, result,
    skip, failure or notice."""

    phase: str
    encoder: str
    task: str
    detail: str = ""
    done: int = 0
    total: int = 0
    result: Result | None = None
    reused: bool = False


Tell = Callable[[Event], None]


def run_unit(unit: Unit, options: RunOptions, tell: Tell) -> None:
    """Evaluate one encoder on the tasks of one source; what is already known is reused.

    A protocol that cannot be run is told as a skip; an encoder or dataset that fails is told as a
    failure and does not touch the others.
    """
    session = _Session(unit.encoder, options, tell)
    for task, protocols in unit.jobs:
        try:
            session.run_task(load_task(task, options.data_dir), protocols)
        except SslBenchError as error:
            tell(Event("failure", unit.encoder.name, task, str(error)))
        except ImportError as error:
            package = (error.name or "").partition(".")[0]
            remedy = f"pip install {package}" if package else "install what it names"
            tell(
                Event(
                    "failure", unit.encoder.name, task, f"a package is missing ({error}): {remedy}"
                )
            )


def reuse(unit: Unit, options: RunOptions, tell: Tell) -> Unit | None:
    """Tell what is known of a unit already, without loading encoder or data; returns the rest."""
    recipe = encoder_recipe(unit.encoder, options.seed)
    if options.fresh or recipe is None:
        return unit
    rest = []
    for name, protocols in unit.jobs:
        unknown = protocols
        with suppress(SslBenchError):  # told when it is evaluated
            task = load_task(name, options.data_dir)
            if (prepared_folder(task) / "prepared.json").is_file():
                known = _Known(unit.encoder, task, recipe, options, tell)
                unknown = tuple(p for p in protocols if not known.tell(p))
        if unknown:
            rest.append((name, unknown))
    return Unit(unit.encoder, tuple(rest)) if rest else None


@dataclass(frozen=True)
class _Known:
    """Results, and reasons to skip, that earlier runs left for one encoder on one task."""

    ref: EncoderRef
    task: Task
    encoder: str  # recipe, or digest where there is no recipe
    options: RunOptions
    pass_on: Tell

    def path(self, name: str, suffix: str) -> Path:
        identity = result_identity(self.task, name, self.encoder, self.options)
        return cache_root() / "results" / f"{identity}.{suffix}"

    def tell(self, name: str) -> bool:
        """Pass on what is known of protocol `name`; False where it has to be computed."""
        card = self.task.card
        if card.target.kind not in protocol_targets(name):
            self.skip(name, f"{name} does not apply to {card.target.kind} targets")
            return True
        if self.options.fresh:
            return False
        reason, path = self.path(name, "skip"), self.path(name, "json")
        if reason.is_file():
            self.skip(name, reason.read_text())
            return True
        if not path.is_file():
            return False
        try:
            result = read_result(path)
        except SslBenchError as error:
            log.warning("%s; it is computed again", error)
            return False
        write_result(result, self.options.out / "results")
        self.pass_on(Event("result", self.ref.name, card.name, name, result=result, reused=True))
        return True

    def skip(self, name: str, reason: str) -> None:
        self.pass_on(Event("skip", self.ref.name, self.task.card.name, f"{name}: {reason}"))

    def keep_skip(self, name: str, reason: str) -> None:
        path = self.path(name, "skip")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(reason)
        self.skip(name, reason)


class _Session:
    """One encoder at work: loaded when first needed, embeddings kept for the tasks of its unit."""

    def __init__(self, ref: EncoderRef, options: RunOptions, tell: Tell) -> None:
        self.ref = ref
        self.options = options
        self.tell = tell
        self.embedded: dict[tuple[str, ...], Embeddings] = {}
        self.source = ""

    def run_task(self, task: Task, protocols: tuple[str, ...]) -> None:
        if task.source != self.source:
            self.embedded.clear()
            self.source = task.source
        recipe = encoder_recipe(self.ref, self.options.seed)
        known = _Known(self.ref, task, recipe or self._encoder().digest, self.options, self.tell)
        for name in protocols:
            if not known.tell(name):
                self._compute(task, name, known)

    def _encoder(self) -> LoadedEncoder:
        return loaded(self.ref, self.options.seed)

    def _compute(self, task: Task, name: str, known: _Known) -> None:
        from benchmark.splits import task_kind

        encoder = self._encoder()
        kind, reason = task_kind(task.card.target.kind, name, encoder)
        if kind is None:
            known.keep_skip(name, reason)
            return
        splits, cost = self._splits(task, kind)
        if name == "retrieval" and encoder.offers("towers"):
            self._add_towers(task, splits)
        if name == "zero-shot":
            from benchmark.splits import class_texts

            splits["test"].class_texts = class_texts(encoder, task)
        self.tell(Event("score", self.ref.name, task.card.name, name))
        begun = time.perf_counter()
        scores = protocol(name).run(
            splits["train"],
            splits.get("validation"),
            splits["test"],
            task.card,
            seed=self.options.seed,
            device=self.options.device,
            encoder=encoder.name,
        )
        cost |= {"probe_seconds": round(time.perf_counter() - begun, 3)}
        dimension = int((splits["test"].embeddings).shape[-1])
        path = known.path(name, "json")
        result = _result(path.stem, encoder, dimension, task, name, scores, self.options, cost)
        write_result(result, path.parent, path.name)
        write_result(result, self.options.out / "results")
        self.tell(Event("result", self.ref.name, task.card.name, name, result=result))

    def _splits(self, task: Task, kind: Kind) -> tuple[dict[str, Split], dict[str, Any]]:
        from benchmark.splits import build_split

        splits, seconds, samples = {}, 0.0, 0
        for split in task.splits:
            embedded = self._embed(task, split, kind)
            splits[split] = build_split(task, split, embedded.arrays, kind, self._encoder())
            seconds += embedded.seconds
            samples += embedded.count
        rate = round(samples / seconds, 2) if seconds else None
        return splits, {"embed_seconds": round(seconds, 3), "samples_per_second": rate}

    def _add_towers(self, task: Task, splits: dict[str, Split]) -> None:
        from benchmark.splits import build_split

        arrays = self._embed(task, "test", "towers").arrays
        built = build_split(task, "test", arrays, "towers", self._encoder())
        splits["test"].towers = built.towers

    def _embed(self, task: Task, split: str, kind: Kind) -> Embeddings:
        from benchmark.embed import EmbedOptions, embed_split
        from benchmark.prepare import open_source
        from benchmark.store import EmbeddingStore

        key = (task.source, ",".join(task.card.towers), split, kind)
        if key in self.embedded:
            return self.embedded[key]
        o = self.options

        def progress(done: int, total: int) -> None:
            self.tell(Event("embed", self.ref.name, task.card.name, split, done, total))

        self.embedded[key] = embed_split(
            self._encoder(),
            open_source(task, split),
            fingerprints(task)[split],
            kind,
            EmbeddingStore(store_root()),
            towers=task.card.towers,
            options=EmbedOptions(o.device, o.precision, o.batch_size, o.fresh),
            about={"source": task.source, "split": split, "kind": kind, "precision": o.precision},
            progress=progress,
        )
        return self.embedded[key]


@cache
def loaded(ref: EncoderRef, seed: int) -> LoadedEncoder:
    """The encoder, loaded once per process."""
    from benchmark.encoder import load_encoder

    return load_encoder(
        ref.name,
        checkpoint=ref.checkpoint,
        init=ref.init,
        modality=ref.modality or None,
        input_options=dict(ref.input_options),
        seed=seed,
    )


def encoder_recipe(ref: EncoderRef, seed: int) -> str | None:
    """A hash that fixes an encoder of the catalog without loading it; None where only its loaded
    weights can tell."""
    from benchmark.identity import module_digest

    card = encoder_cards().get(ref.name)
    if card is None or card.kind not in ("features", "control") or ref.checkpoint:
        return None
    facts = json.dumps([card.target, card.options, ref.init, ref.input_options], sort_keys=True)
    drawn = "" if card.kind == "features" else f" seed {seed}"
    return module_digest(card.target.partition(":")[0], facts + drawn)


def result_identity(task: Task, name: str, encoder: str, options: RunOptions) -> str:
    """Hash of everything that a score depends on."""
    card = task.card
    facts = {
        "encoder": encoder,
        "task": [
            card.name,
            card.version,
            card.metric,
            card.target.model_dump(mode="json"),
            card.towers,
        ],
        "data": data_identity(task),
        "protocol": [name, protocol(name).version, scoring_code()],
        "run": [options.seed, options.precision, options.device.partition(":")[0]],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


@cache
def protocol_targets(name: str) -> tuple[str, ...]:
    return tuple(protocol(name).targets)


@cache
def scoring_code() -> str:
    """Hash of the code, ours and the libraries', that turns embeddings into scores."""
    here = Path(__file__).parent
    files = [*here.glob("protocols/*.py"), *here.glob("probe/*.py")]
    files += [
        here / name for name in ("metrics.py", "bootstrap.py", "splits.py", "embed.py", "inputs.py")
    ]
    versions = [metadata.version(name) for name in ("numpy", "scipy", "scikit-learn", "torch")]
    digest = hashlib.sha256(" ".join(versions).encode())
    for path in sorted(files):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


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
            parameters=model.parameters,
            dimension=dimension,
            input=encoder.spec.model_dump(mode="json"),
            licence=model.licence,
            paper=model.paper,
            pretraining=model.pretraining,
            seen_in_pretraining=bool(set(card.datasets) & set(model.pretraining_data)),
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
        environment=environment(options.device, options.precision),
        cost=Cost(
            **cost,
            peak_memory_mib=peak_memory_mib(options.device),
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
        ),
    )
