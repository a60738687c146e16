"""Harness overhead: embedding through the engine against a bare loop of the same forward.

The bare loop runs the same forward on the same batches, collated beforehand; the engine reads the
prepared Arrow file, cuts windows, batches, runs the forward, checks, assembles and stores shards.
Both are measured in turn, several times; the ratio of the medians is printed.

    python tests/bench/embedding.py [--device cpu] [--encoder resnet18] [--examples 1024]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmark.embed import EmbedOptions, embed_split
from benchmark.encoder import LoadedEncoder, load_encoder
from benchmark.prepare import fingerprints, open_source, read_row
from benchmark.store import EmbeddingStore
from benchmark.task import Task, TaskCard


class Tiles(Task):
    """Noise tiles of 96 × 96 pixels."""

    source = "bench-tiles"
    splits = ("train",)
    count = 1024

    def examples(self, split: str) -> Iterator[dict[str, Any]]:
        rng = np.random.default_rng(0)
        for index in range(self.count):
            image = rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)
            yield {"id": str(index), "group": str(index), "input": {"image": image}, "label": 0}


CARD = TaskCard(
    name="bench-tiles",
    title="Noise tiles",
    modality="histopathology",
    implementation="bench:Tiles",
    target={"kind": "multiclass", "column": "label", "classes": ["a", "b"]},
    metric="accuracy",
    chance=0.5,
    split="none",
    grouping="tile",
    access="embedded",
    simulated=True,
    licence="CC0",
    citation="none",
)


def bare_loop(
    encoder: LoadedEncoder, batches: list[torch.Tensor], device: str, precision: str
) -> None:
    """The forward alone."""
    half = precision != "float32"
    with torch.inference_mode():
        for batch in batches:
            moved = batch.to(device, non_blocking=True)
            with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=half):
                encoder.module(moved).float().cpu()


def timed(work: Callable[[], object], device: str) -> float:
    begun = time.perf_counter()
    work()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--encoder", default="resnet18", help="a timm model, random weights")
    parser.add_argument("--examples", type=int, default=1024)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    precision = "bfloat16" if arguments.device.startswith("cuda") else "float32"
    encoder = load_encoder(f"timm:{arguments.encoder}", init="random", input_options={"size": 96})
    Tiles.count = arguments.examples
    options = EmbedOptions(arguments.device, precision, arguments.batch_size, fresh=True)
    with tempfile.TemporaryDirectory() as folder:
        import os

        os.environ["SSL_BENCH_CACHE"] = folder
        task = Tiles(CARD)
        data = open_source(task, "train")
        windows = [encoder.spec.windows(read_row(data, i)["input"])[0] for i in range(len(data))]
        size = arguments.batch_size
        batches = [
            encoder.spec.collate(windows[i : i + size])["image"]
            for i in range(0, len(windows), size)
        ]
        encoder.module.to(arguments.device)

        def harness() -> None:
            store = EmbeddingStore(Path(folder) / "store")
            embed_split(encoder, data, fingerprints(task)["train"], "clip", store, options=options)

        def bare() -> None:
            bare_loop(encoder, batches, arguments.device, precision)

        for work in (harness, bare):
            work()  # warm-up
        pairs = [
            (timed(harness, arguments.device), timed(bare, arguments.device))
            for _ in range(arguments.repeats)
        ]
    ours, alone = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    count = arguments.examples
    print(
        f"{arguments.encoder} on {arguments.device}, {torch.get_num_threads()} threads, "
        f"{precision}, {count} tiles of 96 × 96, batches of {size}, {arguments.repeats} pairs"
    )
    print(f"bare loop  {count / alone:10.1f} samples/s")
    print(f"ssl-bench  {count / ours:10.1f} samples/s")
    print(f"median of pairwise ratios: {100 * ratio:.1f}% of the bare loop's throughput")


if __name__ == "__main__":
    main()
