"""Embedding: batches, windows and shards change nothing; kills cost at most a shard each."""

import random
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import run, start

from benchmark.catalog import load_task
from benchmark.embed import SHARD, Embeddings, EmbedOptions, embed_split
from benchmark.encoder import Kind, LoadedEncoder, load_encoder
from benchmark.errors import EncoderError
from benchmark.paths import store_root
from benchmark.prepare import fingerprints, open_source, read_row
from benchmark.store import EmbeddingStore


def embed(
    encoder: LoadedEncoder, task: str, kind: Kind = "clip", split: str = "train", **options: object
) -> Embeddings:
    loaded = load_task(task)
    return embed_split(
        encoder,
        open_source(loaded, split),
        fingerprints(loaded)[split],
        kind,
        EmbeddingStore(store_root()),
        options=EmbedOptions(**options),  # type: ignore[arg-type]
    )


def test_embeddings_are_those_of_each_example_alone_in_dataset_order() -> None:
    encoder = load_encoder("mock-spectrum")
    values = embed(encoder, "mock-pitch", batch_size=7).arrays["values"]
    data = open_source(load_task("mock-pitch"), "train")
    for index in (0, 13, 59):
        wave = torch.from_numpy(read_row(data, index)["input"]["waveform"].copy())[None]
        alone = encoder.module(wave, torch.tensor([wave.shape[1]]))[0]
        np.testing.assert_allclose(values[index], alone, atol=1e-5)


def test_frames_keep_only_what_an_example_is_long() -> None:
    encoder = load_encoder("mock-spectrum")
    arrays = embed(encoder, "mock-onsets", "frames").arrays
    data = open_source(load_task("mock-onsets"), "train")
    lengths = [len(read_row(data, i)["input"]["waveform"]) for i in range(len(data))]
    np.testing.assert_allclose(arrays["counts"], np.array(lengths) / 80, atol=1)
    assert len(arrays["values"]) == arrays["counts"].sum()


def test_a_long_input_is_cut_in_windows_and_averaged_by_length() -> None:
    encoder = load_encoder("mock-spectrum")
    short = replace(encoder, spec=encoder.spec.model_copy(update={"seconds": 0.2}), digest="short")
    whole = embed(encoder, "mock-pitch").arrays["values"]
    cut = embed(short, "mock-pitch").arrays["values"]
    assert np.abs(whole - cut).mean() < 0.2  # the mean over windows is near the mean over all
    frames = embed(short, "mock-onsets", "frames").arrays["counts"]
    assert (np.abs(frames - embed(encoder, "mock-onsets", "frames").arrays["counts"]) <= 8).all()


def test_windows_keep_every_frame_on_its_own_time() -> None:
    """An encoder with short windows, and one that gives too few frames, lose and shift nothing."""
    encoder = load_encoder("mock-spectrum")

    class Short(torch.nn.Module):
        modality = "audio"

        def frames(self, waveform: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            times = waveform.unfold(1, 80, 80).mean(-1, keepdim=True)
            return times[:, :-1] if times.shape[1] > 20 else times

    spec = encoder.spec.model_copy(update={"seconds": 0.5})
    short = replace(encoder, module=Short(), spec=spec, digest="short frames")
    arrays = embed(short, "mock-onsets", "frames").arrays
    data = open_source(load_task("mock-onsets"), "train")
    offset = 0
    for index, count in enumerate(arrays["counts"][:20]):
        wave = read_row(data, index)["input"]["waveform"]
        assert abs(count - len(wave) / 80) <= 1
        expected = wave[: len(wave) // 80 * 80].reshape(-1, 80).mean(1)
        own = arrays["values"][offset : offset + count, 0]
        offset += count
        for frame in range(20):  # the first 20 frames of the first and of the second window
            np.testing.assert_allclose(own[frame], expected[frame], atol=1e-5)
            if 25 + frame < min(len(expected), 48):
                np.testing.assert_allclose(own[25 + frame], expected[25 + frame], atol=1e-5)


def test_a_second_call_computes_nothing_and_fresh_computes_all() -> None:
    encoder = load_encoder("mock-spectrum")
    first, again = embed(encoder, "mock-pitch"), embed(encoder, "mock-pitch")
    assert (first.computed_shards, again.computed_shards) == (1, 0)
    np.testing.assert_array_equal(first.arrays["values"], again.arrays["values"])
    assert again.seconds == first.seconds
    assert embed(encoder, "mock-pitch", fresh=True).computed_shards == 1


def test_other_weights_never_share_embeddings() -> None:
    first = embed(load_encoder("mock-net", seed=0), "mock-pitch")
    other = embed(load_encoder("mock-net", seed=1), "mock-pitch")
    assert other.computed_shards == 1
    assert not np.array_equal(first.arrays["values"], other.arrays["values"])


class _Faulty(torch.nn.Module):
    modality = "audio"

    def __init__(self, forward: object) -> None:
        super().__init__()
        self.answer = forward

    def forward(self, waveform: torch.Tensor, lengths: torch.Tensor) -> object:
        return self.answer(waveform)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda w: w[:, 0], r"returns shape \(32,\) for a batch of 32; it should be \(B, D\)"),
        (lambda w: w[:5, :4], "for a batch of 32"),
        (lambda w: w[:, :4] * float("nan"), "NaN or infinite values .* for sample 'train-"),
        (lambda w: {"a": 1}, "returns a int, not a tensor"),
        (lambda w: w[:, :4].long(), "returns torch.int64, not floats"),
        (lambda w: w @ w, r"forward\(waveform \(32, \d+\), lengths \(32,\)\) fails: RuntimeError"),
    ],
)
def test_a_faulty_encoder_gets_one_clear_error(answer: object, message: str) -> None:
    good = load_encoder("mock-spectrum")
    encoder = replace(good, module=_Faulty(answer), digest="faulty", frame_rate=None)
    with pytest.raises(EncoderError, match=message):
        embed(encoder, "mock-pitch")


EVAL = ["eval", "--model", "mock-slow", "--task", "mock-many", "--workers", "1", "--out"]


def scores(folder: Path) -> str:
    (path,) = (folder / "results").glob("*.json")
    return path.read_text().partition('"cost"')[0]


@pytest.mark.long
@pytest.mark.timeout(600)
def test_ten_kills_change_no_digit_and_cost_at_most_a_shard_each(
    tmp_path: Path, own_cache: Path
) -> None:
    """SIGKILL at random moments while embedding, then the same command again."""
    undisturbed = run(*EVAL, str(tmp_path / "a"), SSL_BENCH_CACHE=str(tmp_path / "undisturbed"))
    assert undisturbed.returncode == 0, undisturbed.stderr
    log = tmp_path / "log"
    log.touch()
    chance = random.Random(0)
    kills = 0
    while kills < 10:
        before = log.stat().st_size
        process = start(*EVAL, str(tmp_path / "b"), MOCK_LOG=str(log))
        while log.stat().st_size == before and process.running:
            time.sleep(0.005)  # until it embeds
        time.sleep(chance.uniform(0.0, 0.12))
        if not process.running:
            break  # it finished: the kills below were too late to matter
        process.send_signal(signal.SIGKILL)
        assert process.wait().returncode in (0, -signal.SIGKILL)
        kills += 1
    assert kills >= 5
    assert run(*EVAL, str(tmp_path / "b"), MOCK_LOG=str(log)).returncode == 0
    assert scores(tmp_path / "a") == scores(tmp_path / "b")
    given = sum(map(int, log.read_text().split()))
    assert given <= 1280 + 2 * 64 + kills * SHARD["clip"]


@pytest.mark.long
def test_two_processes_on_one_store_agree(tmp_path: Path, own_cache: Path) -> None:
    log = tmp_path / "log"
    processes = [start(*EVAL, str(tmp_path / name), MOCK_LOG=str(log)) for name in "ab"]
    assert [process.wait().returncode for process in processes] == [0, 0]
    assert scores(tmp_path / "a") == scores(tmp_path / "b")
    assert sum(map(int, log.read_text().split())) == 1280 + 2 * 64


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_lower_precisions_are_rounded_from_float32_where_that_is_stored(dtype: str) -> None:
    encoder = replace(load_encoder("mock-spectrum"), digest=f"to be rounded to {dtype}")
    computed = embed(encoder, "mock-pitch", dtype=dtype)
    assert computed.computed_shards == 1
    other = replace(encoder, digest=f"rounded to {dtype}")
    exact = embed(other, "mock-pitch")
    rounded = embed(other, "mock-pitch", dtype=dtype)
    assert rounded.computed_shards == 0
    np.testing.assert_array_equal(rounded.arrays["values"], computed.arrays["values"])
    assert not np.array_equal(rounded.arrays["values"], exact.arrays["values"])
    assert embed(other, "mock-pitch", dtype=dtype, fresh=True).computed_shards == 1


def test_the_time_that_the_encoder_waited_and_computed_is_told() -> None:
    encoder = replace(load_encoder("mock-spectrum"), digest="timed")
    first, again = embed(encoder, "mock-pitch"), embed(encoder, "mock-pitch")
    assert first.waiting > 0
    assert first.computing > 0
    assert (again.waiting, again.computing) == (0, 0)


def test_shards_of_several_chunks_hold_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = replace(load_encoder("mock-spectrum"), digest="small shards")
    monkeypatch.setitem(SHARD, "clip", 16)
    small = embed(encoder, "mock-pitch")
    assert small.computed_shards == 4
    monkeypatch.setattr("benchmark.embed.MANY", 10)
    monkeypatch.setattr("benchmark.embed.CHUNKS", 2)
    large = embed(replace(encoder, digest="large shards"), "mock-pitch")
    assert large.computed_shards == 2
    np.testing.assert_array_equal(small.arrays["values"], large.arrays["values"])
