"""Speech Commands v0.02: one-second spoken words, all 35 or the 12 classes of the official test.

Warden 2018, arXiv:1804.03209. Archive `speech_commands_v0.02`: `<word>/<speaker>_nohash_<n>.wav`
(mono, 16 kHz), `_background_noise_/*.wav`, `validation_list.txt` and `testing_list.txt` (a line
`word/file.wav` each; drawn by a hash of the speaker, so that no speaker is in two splits). Archive
`speech_commands_test_set_v0.02`: a folder for each of the 12 classes; some of its files end in
`.wav.wav`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.distribution import Distribution, Download, matches
from benchmark.files import reading
from benchmark.task import Task
from tasks.audio.sound_files import audio

RATE = 16_000
WORDS, TEST_SET, NOISE = "speech_commands_v0.02", "speech_commands_test_set_v0.02", "running_tap"
FOLDERS = ("speech-commands", "speech-commands-35", "speech-commands-12", "SpeechCommands")
ARCHIVE = Download(
    "http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
    into=WORDS,
    md5="6b74f3901214cb2c2934e98196829835",
    sha256="af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
)
TEST_ARCHIVE = Download(
    "http://download.tensorflow.org/data/speech_commands_test_set_v0.02.tar.gz",
    into=TEST_SET,
    md5="854c580ee90bff80c516491c84544e32",
)


def _identity(path: Path) -> tuple[str, str]:
    """(`word/file` without types, speaker) of a recording."""
    stem = path.name.removesuffix(".wav").removesuffix(".wav")
    name = f"{path.parent.name}/{stem}"
    before, found, _ = stem.partition("_nohash_")
    return name, before.rpartition("_")[2] if found else name


def listed(path: Path) -> list[str]:
    """The lines of an official list."""
    with reading(path):
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    return [line.strip().replace("\\", "/") for line in lines if line.strip()]


def word_files(folder: Path, split: str) -> list[Path]:
    """The words of one official split of the archive in `folder`, sorted."""
    testing = listed(folder / "testing_list.txt")
    validation = listed(folder / "validation_list.txt")
    if split != "train":
        return sorted(folder / name for name in (validation if split == "validation" else testing))
    held_out = {*testing, *validation}
    spoken = (path for path in matches(folder, "*/*.wav") if not path.parent.name.startswith("_"))
    return sorted(path for path in spoken if f"{path.parent.name}/{path.name}" not in held_out)


class SpeechCommands35(Task):
    """`word`: which of the 35."""

    source = "speech-commands-35"
    distribution = Distribution(
        folders=(*FOLDERS, WORDS),
        layout=tuple(
            f"{pattern}|{WORDS}/{pattern}"
            for pattern in ("validation_list.txt", "testing_list.txt", "*/*.wav")
        ),
        downloads=(ARCHIVE,),
    )

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        inner = self.folder / WORDS
        for path in word_files(inner if inner.is_dir() else self.folder, split):
            name, speaker = _identity(path)
            word = self.label("word", path.parent.name, path)
            yield {"id": name, "group": speaker, "word": word, "_file": path}

    def read(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"input": audio(row["_file"], RATE)}


class SpeechCommands12(Task):
    """`word`: ten commands, any other word, or background noise.

    Training and validation follow HEAR and TensorFlow Datasets: the 25 other words are `_unknown_`;
    the noise recordings, cut into seconds that begin every half second, are `_silence_`, those of
    `running_tap` in validation. Test is the official test archive.
    """

    source = "speech-commands-12"
    distribution = Distribution(
        folders=FOLDERS,
        layout=(
            f"{TEST_SET}/*/*.wav",
            f"{WORDS}/validation_list.txt",
            f"{WORDS}/testing_list.txt",
            f"{WORDS}/*/*.wav",
            f"{WORDS}/_background_noise_/*.wav",
        ),
        downloads=(ARCHIVE, TEST_ARCHIVE),
    )

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        if split == "test":
            for path in sorted(matches(self.folder, f"{TEST_SET}/*/*.wav")):
                yield self._row(path, self.label("word", path.parent.name, path), "test/")
            return
        known = self.classes("word")
        for path in word_files(self.folder / WORDS, split):
            word = path.parent.name
            yield self._row(path, known.index(word if word in known else "_unknown_"))
        for path in sorted(matches(self.folder, f"{WORDS}/_background_noise_/*.wav")):
            if (path.stem == NOISE) == (split == "validation"):
                yield self._row(path, known.index("_silence_"), noise=True)

    @staticmethod
    def _row(path: Path, word: int, prefix: str = "", noise: bool = False) -> Mapping[str, Any]:
        name, group = _identity(path)
        return {
            "id": prefix + name,
            "group": group if "_nohash_" in path.name else prefix + group,
            "word": word,
            "_file": path,
            "_noise": noise,
        }

    def expand(self, row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        whole = audio(row["_file"], RATE)
        kept = {key: value for key, value in row.items() if not key.startswith("_")}
        if not row["_noise"]:
            yield {**kept, "input": whole}
            return
        wave = whole["waveform"]
        for start in range(0, len(wave) - RATE, RATE // 2):
            second = np.ascontiguousarray(wave[start : start + RATE])
            piece = {"waveform": second, "sample_rate": RATE}
            yield {**kept, "id": f"{row['id']}-{start}", "input": piece}
