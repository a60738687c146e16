"""Batches that do not fit into memory are halved; what fits is remembered."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmark import batching
from benchmark.catalog import load_task
from benchmark.embed import Embeddings, EmbedOptions, embed_split
from benchmark.encoder import LoadedEncoder, load_encoder
from benchmark.errors import DeviceMemoryError
from benchmark.paths import store_root
from benchmark.prepare import fingerprints, open_source
from benchmark.store import EmbeddingStore


class Tight(torch.nn.Module):
    """Has memory for `most` examples at a time."""

    modality = "audio"
    input = {"sample_rate": 4000, "seconds": 2}
    most = 5

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def forward(self, waveform: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(waveform))
        if len(waveform) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return waveform[:, :8]


@pytest.fixture
def tight() -> LoadedEncoder:
    return replace(load_encoder("mock-net"), module=Tight().eval(), digest="tight")


def embed(encoder: LoadedEncoder, split: str = "train") -> Embeddings:
    task = load_task("mock-pitch")
    return embed_split(
        encoder,
        open_source(task, split),
        fingerprints(task)[split],
        "clip",
        EmbeddingStore(store_root()),
        options=EmbedOptions(batch_size=32),
    )


def test_a_batch_that_does_not_fit_is_halved_until_it_does(tight) -> None:
    found = embed(tight)
    assert tight.module.sizes[:4] == [32, 16, 8, 4]
    assert set(tight.module.sizes[3:]) == {4}
    whole = Tight()
    whole.most = 1000
    again = embed(replace(tight, module=whole.eval(), digest="roomy"))
    np.testing.assert_array_equal(found.arrays["values"], again.arrays["values"])


def test_the_size_is_remembered_by_later_processes(tight, monkeypatch) -> None:
    embed(tight)
    monkeypatch.setattr(batching, "_SIZES", {})  # another process
    tight.module.sizes.clear()
    embed(tight, "test")
    assert max(tight.module.sizes) == 4
    assert batching.BatchSize(2, "tight", "clip", "float32", "cpu").current == 2
    assert batching.BatchSize(32, "tight", "clip", "bfloat16", "cpu").current == 32


def test_one_example_that_does_not_fit_is_one_clear_error(tight) -> None:
    tight.module.most = 0
    with pytest.raises(DeviceMemoryError, match="with a batch of 1: free the device"):
        embed(tight)
