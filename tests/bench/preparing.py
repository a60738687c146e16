"""Preparing datasets: examples and bytes per second against the decoder alone, and peak memory.

Writes generated recordings in four formats (FLAC audio, WFDB, HDF5, Motion JPEG video) to a
temporary folder, decodes them in a bare loop in one process, then lets the engine prepare them with
one and with several processes. Memory is the peak resident set of a fresh process and its helpers.
CPU seconds are those of all of them, start of the helpers included; on a busy machine they tell
more than the clock.

    python tests/bench/preparing.py --formats audio,wfdb,h5,video --mb 200 --workers 2
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.catalog import task_cards
from benchmark.files import reading
from benchmark.prepare import prepare
from benchmark.task import Task, TaskCard

FORMATS = ("audio", "wfdb", "h5", "video")
MODALITY = {"audio": "audio", "wfdb": "ecg", "h5": "histopathology", "video": "echo"}


def write_audio(folder: Path, index: int) -> int:
    """10 s at 16 kHz."""
    import soundfile

    rng = np.random.default_rng(index)
    wave = (np.cumsum(rng.standard_normal(160_000)) * 20).astype(np.int16)
    soundfile.write(folder / f"{index}.flac", wave, 16_000)
    return wave.nbytes


def write_wfdb(folder: Path, index: int) -> int:
    """12 leads, 10 s at 500 Hz."""
    import wfdb

    signal = np.random.default_rng(index).standard_normal((5000, 12)).cumsum(0) * 0.01
    names = ["I", "II", "III", "aVR", "aVL", "aVF", *(f"V{lead}" for lead in range(1, 7))]
    wfdb.wrsamp(
        f"r{index}", 500, ["mV"] * 12, names, signal, fmt=["16"] * 12, write_dir=str(folder)
    )
    return 12 * 5000 * 4


def write_h5(folder: Path, index: int) -> int:
    """1,024 tiles of 96 x 96 to a file, which gzip makes a tenth smaller, as it does PCam's: bytes
    that are equally frequent it would only copy."""
    import h5py

    rng = np.random.default_rng(index)
    tiles = rng.normal(170, 30, (1024, 96, 96, 3)).clip(0, 255).astype(np.uint8)
    with h5py.File(folder / f"{index}.h5", "w") as file:
        file.create_dataset("x", data=tiles, chunks=(32, 96, 96, 3), compression="gzip")
    return tiles.nbytes


def write_video(folder: Path, index: int) -> int:
    """128 frames of 112 x 112."""
    import cv2

    rng = np.random.default_rng(index)
    size = (112, 112)
    out = cv2.VideoWriter(
        str(folder / f"{index}.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 50, size, isColor=True
    )
    for frame in rng.integers(0, 255, (128, 28, 28, 3), np.uint8):
        out.write(cv2.resize(frame, size))
    out.release()
    return 128 * 112 * 112


def read_audio(path: Path) -> list[Mapping[str, Any]]:
    import soundfile

    wave, rate = soundfile.read(path, dtype="int16")
    return [{"waveform": wave, "sample_rate": rate}]


def read_wfdb(path: Path) -> list[Mapping[str, Any]]:
    import wfdb

    record = wfdb.rdrecord(str(path.with_suffix("")))
    signal = np.ascontiguousarray(record.p_signal.T, np.float32)
    return [{"signal": signal, "sample_rate": record.fs, "leads": record.sig_name}]


def read_h5(path: Path) -> list[Mapping[str, Any]]:
    import h5py

    with h5py.File(path) as file:
        tiles = file["x"]
        return [
            {"image": tile}
            for start in range(0, len(tiles), 32)
            for tile in tiles[start : start + 32]
        ]


def read_video(path: Path) -> list[Mapping[str, Any]]:
    import cv2

    capture, frames = cv2.VideoCapture(str(path)), []
    while (got := capture.read())[0]:
        frames.append(got[1][..., 0])
    return [{"video": np.stack(frames), "fps": 50.0}]


READ: dict[str, Callable[[Path], list[Mapping[str, Any]]]] = {
    "audio": read_audio,
    "wfdb": read_wfdb,
    "h5": read_h5,
    "video": read_video,
}
SUFFIX = {"audio": "flac", "wfdb": "hea", "h5": "h5", "video": "avi"}


class Recordings(Task):
    """Every recording of a folder, one split."""

    source = "bench"
    splits = ("train",)

    @property
    def kind(self) -> str:
        return self.card.name.removeprefix("bench-")

    def files(self) -> list[Path]:
        assert self.root is not None
        return sorted(self.root.glob(f"*.{SUFFIX[self.kind]}"))

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        for path in self.files():
            yield {"id": path.name, "group": path.name, "label": 0, "_path": path}

    def expand(self, row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        with reading(row["_path"]):
            for number, made in enumerate(READ[self.kind](row["_path"])):
                yield {
                    "id": f"{row['id']}-{number}",
                    "group": row["group"],
                    "label": 0,
                    "input": made,
                }


def card(kind: str) -> TaskCard:
    """A card for the bench's task."""
    return TaskCard(
        name=f"bench-{kind}", title="bench", modality=MODALITY[kind],
        implementation="bench:Recordings",
        target={"kind": "multiclass", "column": "label", "classes": ("a", "b")},
        metric="accuracy", chance=0.5, split="one", grouping="file", access="manual",
        simulated=True, licence="none", citation="none",
    )  # type: ignore[arg-type]  # fmt: skip


def resident(pid: int) -> int:
    """Resident bytes of a process and all below it."""
    total = 0
    try:
        total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        for thread in Path(f"/proc/{pid}/task").iterdir():
            total += sum(
                resident(int(child)) for child in (thread / "children").read_text().split()
            )
    except OSError:
        pass
    return total


def cpu_seconds() -> float:
    """Of this process and of those below it that have ended."""
    return sum(os.times()[:4])


def measure(root: Path, kind: str, way: str, workers: int) -> dict[str, float]:
    """One way in a process of its own: seconds, peak resident MiB."""
    command = [sys.executable, __file__, "--measure", way, "--formats", kind, "--root", str(root)]
    command += ["--workers", str(workers)]
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "SSL_BENCH_CACHE": cache, "OMP_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = str(Path(__file__).parents[2])
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        peak = [0]
        done = threading.Event()

        def watch() -> None:
            while not done.wait(0.05):
                peak[0] = max(peak[0], resident(process.pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        out, _ = process.communicate()
        done.set()
        watcher.join()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    return {**json.loads(out.splitlines()[-1]), "mib": peak[0] / 2**20}


def run(root: Path, kind: str, way: str, workers: int) -> None:
    """The measured part, in its own process."""
    # under its own name, so that helper processes can import the class
    sys.path.insert(0, str(Path(__file__).parent))
    from preparing import Recordings as Importable

    task = Importable(card(kind), root)
    task_cards()  # a command has read them before it prepares
    begun, worked = time.perf_counter(), cpu_seconds()
    if way == "loop":
        for path in task.files():
            READ[kind](path)
    else:
        prepare(task, workers=workers)
    seconds, worked = time.perf_counter() - begun, cpu_seconds() - worked
    print(json.dumps({"seconds": seconds, "cpu": worked}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--mb", type=int, default=200, help="decoded megabytes per format")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--measure", choices=("loop", "prepare"))
    parser.add_argument("--root", type=Path)
    options = parser.parse_args()
    kinds = options.formats.split(",")
    if options.measure:
        run(options.root, kinds[0], options.measure, options.workers)
        return
    print(
        f"{'format':8} {'decoded':>8} {'way':24} {'seconds':>8} {'MB/s':>8} {'CPU s':>8} "
        f"{'MB/CPU s':>8} {'peak MiB':>9}"
    )
    for kind in kinds:
        with tempfile.TemporaryDirectory() as name:
            root, size, index = Path(name), 0, 0
            while size < options.mb * 1e6:
                size += globals()[f"write_{kind}"](root, index)
                index += 1
            for way, workers in (("loop", 1), ("prepare", 1), ("prepare", options.workers)):
                found = measure(root, kind, way, workers)
                label = "decoder alone" if way == "loop" else f"prepare, {workers} processes"
                print(
                    f"{kind:8} {size / 1e6:6.0f} MB {label:24} {found['seconds']:8.1f} "
                    f"{size / 1e6 / found['seconds']:8.0f} {found['cpu']:8.1f} "
                    f"{size / 1e6 / found['cpu']:8.0f} {found['mib']:9.0f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
