"""Published checkpoints: read without running anything, mapped without skipping anything."""

import argparse
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.checkpoint import fit, load_into, read_checkpoint, tensors_of
from benchmark.errors import EncoderError


class Payload:
    """What an attacker puts into a pickle."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):  # type: ignore[no-untyped-def]
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".bin"])
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path: Path, suffix: str) -> None:
    path, marker = tmp_path / f"bad{suffix}", tmp_path / "ran"
    torch.save({"weight": torch.zeros(2), "extra": Payload(marker)}, path)
    with pytest.raises(EncoderError, match="pickled code is refused"):
        read_checkpoint(path)
    path.write_bytes(pickle.dumps({"extra": Payload(marker)}))
    with pytest.raises(EncoderError, match="cannot be loaded"):
        read_checkpoint(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("w.pt", b"\n<!DOCTYPE html><title>Virus scan warning</title>", "is a web page"),
        ("w.safetensors", b"<html>" * 9, "is a web page"),
        ("w.bin", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "of Git LFS"),
        ("w.ckpt", b"", "is empty: download it again"),
        ("w.pth", b"not found", "begin with b'not found'; download"),
        ("w.pth", b"cos\nsystem\n(S'true'\ntR.", "cannot be loaded"),
        ("w.pt", b"PK\x03\x04" + bytes(99), "damaged or cut off; download"),
    ],
)
def test_something_else_under_a_checkpoints_name_is_called_what_it_is(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(EncoderError, match=words):
        read_checkpoint(tmp_path / name)


def test_half_a_file_a_folder_and_a_list_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "half.pth"
    torch.save({"weight": torch.zeros(99)}, path)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(EncoderError, match="damaged or cut off"):
        read_checkpoint(path)
    with pytest.raises(EncoderError, match="is a folder: give --checkpoint the file in it"):
        read_checkpoint(tmp_path)
    torch.save([torch.zeros(1)], path)
    with pytest.raises(EncoderError, match="holds a list, not a state_dict: save"):
        read_checkpoint(path)


def test_scores_and_options_beside_the_weights_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "published.pth"
    about = {"args": argparse.Namespace(lr=0.1), "best": np.float64(0.5), "r2": np.float32(1)}
    torch.save({"state_dict": {"weight": torch.ones(2)}, **about}, path)
    assert torch.equal(read_checkpoint(path)["weight"], torch.ones(2))


def test_the_teacher_is_taken_from_a_training_checkpoint() -> None:
    one, two = torch.ones(1), torch.zeros(1)
    entries = {
        "epoch": 3,
        "teacher": {"module.backbone.a": one, "module.head.b": two},
        "student": {"module.backbone.a": two},
    }
    found = tensors_of(
        entries, inside=("teacher",), prefixes=("module.",), only="backbone.", drop=r"^head\."
    )
    assert found == {"a": one}
    mixed = {"model.teacher.encoder.a": one, "model.student.encoder.a": two}
    assert tensors_of(mixed, only="model.teacher.encoder.") == {"a": one}
    assert set(tensors_of({"a": one, "decoder.b": two})) == {"a", "decoder.b"}


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    module = torch.nn.Linear(3, 2)
    good = {"weight": torch.zeros(2, 3), "bias": torch.zeros(2)}
    with pytest.raises(EncoderError, match="missing: bias"):
        fit(module, {"weight": good["weight"]})
    with pytest.raises(EncoderError, match="surplus: decoder"):
        fit(module, {**good, "decoder": torch.zeros(1)})
    with pytest.raises(EncoderError, match=r"weight is \(2, 4\), should be \(2, 3\)"):
        fit(module, {**good, "weight": torch.zeros(2, 4)})
    path = tmp_path / "other.pt"
    torch.save({"model": {"conv": torch.zeros(1)}}, path)
    with pytest.raises(EncoderError, match=r"other\.pt does not fit mine; missing: bias, weight"):
        load_into(module, path, "mine")
    fit(module, {"weight": torch.full((2, 3), 2.0)}, optional=("bias",))
    assert float(module.weight.detach().mean()) == 2.0
