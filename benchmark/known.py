"""What earlier runs left: results, and reasons to skip, by the identity of all they depend on."""

from __future__ import annotations

import hashlib
import json
import logging
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.catalog import encoder_cards, load_task
from benchmark.corpora import seen_in_pretraining
from benchmark.errors import SslBenchError
from benchmark.events import Event, RunOptions, Tell
from benchmark.paths import cache_root, explained, replacing
from benchmark.plan import EncoderRef, Unit
from benchmark.prepare import data_identity, prepared_folder
from benchmark.protocols import protocol
from benchmark.results import read_result, write_result

if TYPE_CHECKING:
    from benchmark.task import Task

NOT_SCORED = ("prose", "suites", "protocols", "reference_scores", "size", "homepage", "citation")
log = logging.getLogger("ssl_bench")


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
                known = Known(unit.encoder, task, recipe, options, tell)
                unknown = tuple(p for p in protocols if not known.tell(p))
        if unknown:
            rest.append((name, unknown))
    return Unit(unit.encoder, tuple(rest)) if rest else None


@dataclass(frozen=True)
class Known:
    """Results, and reasons to skip, that earlier runs left for one encoder on one task."""

    ref: EncoderRef
    task: Task
    encoder: str  # recipe, or digest where there is no recipe
    options: RunOptions
    pass_on: Tell

    def path(self, name: str, suffix: str) -> Path:
        identity = result_identity(self.task, name, self.ref, self.encoder, self.options)
        return cache_root() / "results" / f"{identity}.{suffix}"

    def tell(self, name: str) -> bool:
        """Pass on what is known of protocol `name`; False where it has to be computed."""
        card = self.task.card
        if card.target.kind not in protocol_targets(name):
            self.skip(name, f"{name} does not apply to {card.target.kind} targets")
            return True
        if self.options.fresh:
            return False
        path = self.path(name, "json")
        reason = path.with_suffix(".skip")
        if reason.is_file() and reason.stat().st_size:
            self.skip(name, reason.read_text())
            return True
        if not path.is_file():
            return False
        try:
            result = read_result(path)
        except SslBenchError as error:
            log.warning("%s; it is computed again", error)
            return False
        if self.options.out is not None:
            write_result(result, self.options.out / "results")
        self.pass_on(Event("result", self.ref.name, card.name, name, result=result, reused=True))
        return True

    def skip(self, name: str, reason: str) -> None:
        self.pass_on(Event("skip", self.ref.name, self.task.card.name, f"{name}: {reason}"))

    def keep_skip(self, name: str, reason: str) -> None:
        path = self.path(name, "skip")
        with explained(path.parent), replacing(path) as scratch:
            scratch.write_text(reason)
        self.skip(name, reason)


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


def result_identity(
    task: Task, name: str, ref: EncoderRef, encoder: str, options: RunOptions
) -> str:
    """Hash of everything that a score depends on."""
    card, model = task.card, encoder_cards().get(ref.name)
    facts = {
        "encoder": [ref.name, ref.init, ref.checkpoint and Path(ref.checkpoint).stem, encoder],
        "seen": seen_in_pretraining(card.datasets, model.pretraining_data if model else ()),
        "task": card.model_dump(mode="json", exclude=set(NOT_SCORED)),
        "data": data_identity(task),
        "protocol": [name, protocol(name).version, scoring_code()],
        "run": [
            options.seed,
            options.precision,
            options.device.partition(":")[0],
            options.threads,
            *([options.store_dtype] if options.store_dtype != "float32" else []),
        ],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


@cache
def protocol_targets(name: str) -> tuple[str, ...]:
    return tuple(protocol(name).targets)


@cache
def scoring_code() -> str:
    """Hash of the code, ours and the libraries', that turns embeddings into scores."""
    here = Path(__file__).parent
    files = [*here.glob("*.py"), *here.glob("protocols/*.py"), *here.glob("probe/*.py")]
    files = [path for path in files if path.name not in ("cli.py", "progress.py")]
    versions = [metadata.version(name) for name in ("numpy", "scipy", "scikit-learn", "torch")]
    digest = hashlib.sha256(" ".join(versions).encode())
    for path in sorted(files):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
