"""Embedding speed of the catalogue: batches by length against one file at a time.

    python tests/bench/encoders.py [--models mert ssast ...] [--examples 32] [--batch-size 8]
                                   [--device cpu] [--precision float32] [--reduced] [--compile]

Two ways to the same clip embeddings, each in a process of its own: the engine's (windows sorted by
length, padded to batches) and the way most authors' scripts run (one window at a time, float32).
All encoders are untrained: speed does not depend on the weights. Prints examples per second (on the
CPU per second of its time, elsewhere by the clock), peak memory (resident; on CUDA allocated), and
the least cosine between the two ways' embeddings.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from typing import Any

import numpy as np


def measure(way: str, name: str, args: argparse.Namespace, pipe: Any) -> None:
    import torch

    from benchmark.check import example_inputs
    from benchmark.embed import EmbedOptions, Piece, embed_windows
    from benchmark.encoder import load_encoder
    from benchmark.events import COMPILED
    from benchmark.forward import forward

    torch.set_num_threads(args.threads)
    published = load_card(name).kind == "pretrained"
    encoder = load_encoder(name, init="random" if published else None, reduced=args.reduced)
    encoder.module.to(args.device)
    examples = [x for seed in range(-(-args.examples // 4)) for x in example_inputs(encoder, seed)]
    windows = [encoder.spec.windows(example)[0] for example in examples[: args.examples]]
    precision = args.precision + (COMPILED if args.compile else "")
    ours = EmbedOptions(args.device, precision, args.batch_size)
    single = EmbedOptions(args.device, "float32", 1)
    pieces = [Piece(i, 0, window, str(i)) for i, window in enumerate(windows)]

    def run() -> np.ndarray:
        if way == "ours":
            found = {
                p.example: v["values"] for p, v in embed_windows(encoder, pieces, "clip", ours)
            }
            return np.stack([found[i] for i in range(len(windows))])
        rows = [forward(encoder, encoder.spec.collate([w]), "clip", single) for w in windows]
        return np.stack([pooled(row["values"][0]) for row in rows])

    run()  # imports, buffers, compilation
    on_cuda = args.device.startswith("cuda")
    # On the CPU what counts is its time, which other programs at work do not change.
    clock = time.process_time if args.device == "cpu" else time.perf_counter
    started = clock()
    embeddings = run()
    seconds = clock() - started
    peak = (
        torch.cuda.max_memory_allocated() / 2**20
        if on_cuda
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    )
    pipe.send((len(windows) / seconds, peak, embeddings))


def pooled(values: np.ndarray) -> np.ndarray:
    return values.mean(0) if values.ndim == 2 else values


def load_card(name: str) -> Any:
    from benchmark.catalog import encoder_card

    return encoder_card(name)


def main() -> None:
    from benchmark.catalog import encoder_cards

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    known = [card.name for card in encoder_cards().values() if card.kind != "adapter"]
    parser.add_argument("--models", nargs="+", default=known, choices=known, metavar="NAME")
    parser.add_argument("--examples", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--reduced", action="store_true", help="the shallow copies of the tests")
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    print(
        f"{'encoder':<24}{'ours /s':>12}{'single /s':>12}{'ratio':>12}{'ours MiB':>12}"
        f"{'single MiB':>12}"
    )
    for name in args.models:
        found = {}
        for way in ("ours", "single"):
            here, there = context.Pipe(duplex=False)
            worker = context.Process(target=measure, args=(way, name, args, there))
            worker.start()
            there.close()
            try:
                found[way] = here.recv()
            except EOFError:
                break
            finally:
                worker.join()
        if len(found) < 2:
            print(f"{name:<24} failed")
            continue
        (rate, peak, a), (alone, peak_alone, b) = found["ours"], found["single"]
        norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        cosine = ((a * b).sum(1) / np.maximum(norms, 1e-12)).min()
        print(
            f"{name:<24}{rate:>12.1f}{alone:>12.1f}{rate / alone:>12.2f}{peak:>12.0f}"
            f"{peak_alone:>12.0f}  least cosine {cosine:.6f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
