"""What a worker asks its node for, by the size of the encoder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from benchmark.catalog import encoder_cards
from benchmark.plan import EncoderRef

GIB = 1 << 30
SMALLEST = 2 * GIB  # the interpreter with its libraries, a few batches, a probe's arrays
BYTES_PER_PARAMETER = 16  # float32 weights, the file that they are read from, activations
GPU_FRACTIONS = ((30_000_000, 0.25), (120_000_000, 0.5))  # up to so many parameters; else a whole


@dataclass(frozen=True, order=True)
class Shape:
    """Resources of one worker."""

    cpus: int
    gpus: float
    memory: int  # bytes

    def fits(self, resources: Mapping[str, float]) -> int:
        """How many such workers a node with these resources can hold."""
        limits = [resources.get("CPU", 0.0) / self.cpus]
        if self.gpus:
            # a worker's share lies on one GPU
            limits.append(resources.get("GPU", 0.0) // 1 * (1 / self.gpus))
        if self.memory:
            limits.append(resources.get("memory", 0.0) / self.memory)
        return int(min(limits))

    def __str__(self) -> str:
        parts = [f"{self.cpus} CPU"]
        parts += [f"{self.gpus:g} GPU"] if self.gpus else []
        return ", ".join([*parts, f"{self.memory / GIB:.1f} GiB"])


def shape_of(encoder: EncoderRef, device: str, threads: int) -> Shape:
    """What a worker with this encoder needs: `threads` CPUs; on CUDA a share of a GPU, a whole one
    where the size is large or unknown; memory in steps of powers of two, so that encoders of about
    the same size share workers."""
    parameters = _parameters(encoder)
    gpus = 0.0
    if device.startswith("cuda"):
        known = (
            share for most, share in GPU_FRACTIONS if parameters is not None and parameters <= most
        )
        gpus = next(known, 1.0)
    memory = SMALLEST
    while memory < GIB + BYTES_PER_PARAMETER * (parameters or 0):
        memory *= 2
    return Shape(threads, gpus, memory)


def _parameters(encoder: EncoderRef) -> int | None:
    if encoder.checkpoint is not None:
        try:
            return os.path.getsize(encoder.checkpoint) // 4
        except OSError:
            return None
    card = encoder_cards().get(encoder.name)
    if card is None or card.kind == "adapter":
        return None
    return card.parameters or (0 if card.kind == "features" else None)


def modest(shape: Shape, nodes: Iterable[Mapping[str, float]]) -> Shape:
    """The shape with no more memory than the largest node has: an estimate must not keep a run
    from being tried."""
    most = max((node.get("memory", 0.0) for node in nodes), default=0.0)
    return Shape(shape.cpus, shape.gpus, min(shape.memory, int(most * 0.9)))


def no_room(shape: Shape, nodes: Iterable[Mapping[str, float]]) -> str:
    """What to tell where no node can hold a worker."""
    have = "; ".join(
        f"{node.get('CPU', 0):g} CPU, {node.get('GPU', 0):g} GPU, "
        f"{node.get('memory', 0) / GIB:.1f} GiB"
        for node in nodes
    )
    return (
        f"no node of the cluster has room for a worker ({shape}); there are: {have or 'none'}. "
        "Choose another --device or --threads, or say --workers N to wait for an autoscaler"
    )
