"""Memory and time per sample from 10,000 to 1,000,000 samples: embedding, probes, precisions.

    python tests/bench/scale.py embed [--sizes 10000 100000 1000000] [--d 256]
    python tests/bench/scale.py probe [--sizes ...] [--d 256] [--classes 10] [--kind multiclass]
                                      [--penalties 9] [--store-dtype float32]
    python tests/bench/scale.py dtype [--models all]

All data is synthetic. `embed`: short noise waveforms through a small convolutional encoder with
random weights, prepared beforehand. `probe`: overlapping Gaussian classes in the store; a tenth of
the size is the validation split; `--penalties` of the grid, or its middle if 1. Every size runs in
a process of its own, whose peak resident memory (VmHWM, mapped files included) is printed beside
that of a process that has only imported the same modules. `dtype`: the starter suite scored from
embeddings stored in float32, float16 and bfloat16.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

SIZES = [10_000, 100_000, 1_000_000]
SAMPLES = 400  # of a waveform
BATCH = 256


def peak_mib() -> float:
    """Peak resident memory of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise OSError("no VmHWM")


def noise_task(count: int) -> Any:
    """A task of `count` noise waveforms, without files."""
    from benchmark.task import Task, TaskCard

    class Noise(Task):
        source = f"bench-noise-{count}"
        splits = ("train",)

        def files(self) -> list[Path]:
            return []

        def examples(self, split: str) -> Iterator[dict[str, Any]]:
            rng = np.random.default_rng(0)
            for index in range(count):
                wave = rng.standard_normal(SAMPLES, dtype=np.float32) * 0.1
                name = str(index)
                yield {
                    "id": name, "group": name, "label": 0,
                    "input": {"waveform": wave, "sample_rate": 16000.0},
                }  # fmt: skip

    card = TaskCard(
        name="bench-noise",
        title="Noise",
        modality="audio",
        implementation="bench:Noise",
        target={"kind": "multiclass", "column": "label", "classes": ["a", "b"]},
        metric="accuracy",
        chance=0.5,
        split="none",
        grouping="recording",
        access="embedded",
        simulated=True,
        licence="CC0",
        citation="none",
    )
    return Noise(card)


def encoder(d: int) -> Any:
    """A small convolutional network with random weights, (B, T) to (B, d)."""
    import torch

    from benchmark.encoder import load_encoder

    folder = Path(tempfile.mkdtemp())
    (folder / "small.py").write_text(
        f"""import torch
class Small(torch.nn.Module):
    modality = "audio"
    input = dict(sample_rate=16_000, seconds=1)
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = torch.nn.Conv1d(1, 16, 32, 16)
        self.second = torch.nn.Conv1d(16, {d}, 8, 4)
    def forward(self, waveform, lengths):
        return self.second(self.first(waveform.unsqueeze(1)).relu()).relu().mean(-1)
"""
    )
    torch.set_num_threads(2)
    return load_encoder(f"{folder}/small.py:Small")


def prepare_noise(count: int, d: int) -> dict[str, Any]:
    from benchmark.prepare import prepare

    begun = time.perf_counter()
    prepare(noise_task(count))
    return {"seconds": time.perf_counter() - begun}


def embed(count: int, d: int) -> dict[str, Any]:
    from benchmark.embed import EmbedOptions, embed_split
    from benchmark.prepare import fingerprints, open_source
    from benchmark.store import open_store

    task, model = noise_task(count), encoder(d)
    data, prints = open_source(task, "train"), fingerprints(task)
    imported = peak_mib()
    begun = time.perf_counter()
    if count:
        found = embed_split(
            model,
            data,
            prints["train"],
            "clip",
            open_store(),
            options=EmbedOptions(batch_size=BATCH, fresh=True),
        )
        assert found.computed_shards
        assert np.isfinite(found.arrays["values"][count // 2]).all()
    seconds = time.perf_counter() - begun
    whole = found.waiting + found.computing
    return {
        "seconds": seconds,
        "peak": peak_mib(),
        "imported": imported,
        "note": f"encoder waited {found.waiting / whole:.0%} of the time",
    }


def entry_of(count: int, d: int, split: str, dtype: str) -> Any:
    from benchmark.embed import CHUNKS, MANY, SHARD
    from benchmark.store import EntryKey, open_store

    size = SHARD["clip"] * (CHUNKS if count >= MANY else 1)
    key = EntryKey("bench", f"gaussian {split} {count} {d}", "clip", "float32", dtype=dtype)
    return open_store().entry(key, count, size, {"encoder": "bench"})


def drawn(rows: range, d: int, classes: int, salt: int) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings and labels of some consecutive samples."""
    shape = np.random.default_rng(0)
    spectrum = (1.0 + np.arange(d, dtype=np.float32)) ** -0.5
    apart = 0.2 * (256 / d) ** 0.5  # as far apart at any width
    means = apart * shape.standard_normal((classes, d), dtype=np.float32) * spectrum
    rng = np.random.default_rng([salt, rows.start])
    y = labels_of(len(rows), classes, rows.start)
    noise = rng.standard_normal((len(rows), d), dtype=np.float32) * spectrum
    return 3 * (means[y] + noise) + 1, y


def labels_of(count: int, classes: int, start: int = 0) -> np.ndarray:
    """Labels (count,) that need no storing."""
    places = np.arange(start, start + count, dtype=np.uint64)
    return ((places * np.uint64(2654435761) >> np.uint64(7)) % np.uint64(classes)).astype(np.int64)


def store_gaussians(count: int, d: int, classes: int, dtype: str) -> dict[str, Any]:
    begun = time.perf_counter()
    for salt, (split, size) in enumerate((("train", count), ("validation", count // 10))):
        entry = entry_of(size, d, split, dtype)
        for index in entry.missing():
            entry.write(index, {"values": drawn(entry.span(index), d, classes, salt)[0]})
        entry.finish()
    return {"seconds": time.perf_counter() - begun}


def probe(
    count: int, d: int, classes: int, dtype: str, kind: str, penalties: int
) -> dict[str, Any]:
    import torch

    from benchmark.probe import PENALTIES, fit_probe
    from benchmark.probe.streamed import Stream

    made: list[int] = []
    chunks = Stream.chunks

    def counted(stream: Stream) -> Any:
        made.append(len(stream))
        return chunks(stream)

    Stream.chunks = counted  # type: ignore[method-assign]

    torch.set_num_threads(2)
    x, held = (
        entry_of(n, d, s, dtype).read()["values"]
        for n, s in ((count, "train"), (count // 10, "validation"))
    )
    y, y_held = labels_of(count, classes), labels_of(count // 10, classes)
    if kind == "regression":
        y, y_held = y.astype(np.float32), y_held.astype(np.float32)
    small = np.random.default_rng(0).standard_normal((64, 8)).astype(np.float32)
    fit_probe(small, np.arange(64) % 3, kind="multiclass")
    imported = peak_mib()
    begun = time.perf_counter()
    grid = PENALTIES[:: max(1, len(PENALTIES) // penalties)]
    if penalties == 1:
        grid = PENALTIES[len(PENALTIES) // 2 :][:1]
    found = fit_probe(x, y, kind=kind, validation=(held, y_held), penalties=grid)
    seconds = time.perf_counter() - begun
    passes = f", {sum(made) / (count * 1.05):.0f} passes" if made else ""
    right = ""
    if kind == "multiclass":
        predicted = found.decision(held[:10_000]).argmax(1)
        right = f", {np.mean(predicted == y_held[:10_000]):.4f} right"
    return {
        "seconds": seconds,
        "peak": peak_mib(),
        "imported": imported,
        "note": f"{type(x).__name__}{passes}, {found.iterations} iterations, "
        f"C = {found.penalty:.3g}, {'converged' if found.converged else 'not converged'}{right}",
    }


def child(work: str, **arguments: Any) -> dict[str, Any]:
    """Run one of the functions above in a process of its own."""
    command = [sys.executable, __file__, "--child", json.dumps([work, arguments])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def show(sizes: list[int], rows: list[dict[str, Any]]) -> None:
    print("| samples | seconds | µs per sample | peak MiB | of it imports | |")
    print("| ---: | ---: | ---: | ---: | ---: | --- |")
    for size, row in zip(sizes, rows, strict=True):
        print(
            f"| {size:,} | {row['seconds']:.1f} | {row['seconds'] / size * 1e6:.1f} "
            f"| {row['peak']:.0f} | {row['imported']:.0f} | {row['note']} |",
            flush=True,
        )
    peaks = [row["peak"] for row in rows]
    paces = [row["seconds"] / size for size, row in zip(sizes, rows, strict=True)]
    print(f"peak memory: largest / smallest {max(peaks) / min(peaks):.3f}; ", end="")
    print(f"time per sample: last / first {paces[-1] / paces[0]:.3f}")


def precisions(models: list[str]) -> None:
    """Scores of the starter suite from half-precision embeddings, against float32."""
    scores: dict[str, dict[tuple[str, ...], tuple[float, float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SSL_BENCH_CACHE"] = os.environ.get("SSL_BENCH_SCALE_CACHE", folder)
        for dtype in ("float32", "float16", "bfloat16"):
            out = Path(folder) / dtype
            command = [sys.executable, "-m", "benchmark.cli", "eval", "--suite", "starter"]
            command += [part for model in models for part in ("--model", model)]
            subprocess.run(
                [*command, "--store-dtype", dtype, "--out", str(out)], check=True,
                stdout=subprocess.DEVNULL,
            )  # fmt: skip
            scores[dtype] = {}
            for path in (out / "results").glob("*.json"):
                result = json.loads(path.read_text())
                value = result["metrics"][result["metric"]]
                key = (
                    result["encoder"]["name"],
                    result["task"]["name"],
                    result["protocol"]["name"],
                )
                scores[dtype][key] = (value["value"], value["low"], value["high"])
    base = scores["float32"]
    print(f"{len(base)} results of {', '.join(models)} on the starter suite")
    print(
        "| stored as | mean change | mean absolute change | largest change | of half its interval |"
    )
    print("| --- | ---: | ---: | ---: | ---: |")
    for dtype in ("float16", "bfloat16"):
        keys = [key for key in base if key in scores[dtype]]
        change = np.array([scores[dtype][key][0] - base[key][0] for key in keys])
        half = np.array(
            [
                (base[key][2] - base[key][1]) / 2 if base[key][1] is not None else np.nan
                for key in keys
            ]
        )
        worst = int(np.abs(change).argmax())
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.nanmax(np.abs(change) / half)
        print(
            f"| {dtype} | {change.mean():+.5f} | {np.abs(change).mean():.5f} "
            f"| {change[worst]:+.4f} ({' / '.join(keys[worst])}) | at most {share:.2f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["embed", "probe", "dtype"])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--d", type=int, default=256)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--penalties", type=int, default=9)
    parser.add_argument("--store-dtype", default="float32", choices=["float32", "float16"])
    parser.add_argument("--kind", default="multiclass", choices=["multiclass", "regression"])
    parser.add_argument("--models", nargs="+", default=["all"])
    given = parser.parse_args()
    if given.what == "dtype":
        return precisions(given.models)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SSL_BENCH_CACHE"] = os.environ.get("SSL_BENCH_SCALE_CACHE", folder)
        rows = []
        for size in given.sizes:
            if given.what == "embed":
                child("prepare_noise", count=size, d=given.d)
                rows.append(child("embed", count=size, d=given.d))
            else:
                shape = {"count": size, "d": given.d, "classes": given.classes}
                shape["dtype"] = given.store_dtype
                child("store_gaussians", **shape)
                rows.append(child("probe", **shape, kind=given.kind, penalties=given.penalties))
            print(size, rows[-1], file=sys.stderr, flush=True)
        show(given.sizes, rows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        name, keywords = json.loads(sys.argv[2])
        print(json.dumps(globals()[name](**keywords)))
    else:
        main()
