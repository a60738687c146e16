"""`ssl-bench check` finds each kind of fault, and says it in one clear line."""

from pathlib import Path

import pytest
import torch

from benchmark.check import check_encoder
from benchmark.encoder import LoadedEncoder, load_encoder

HEAD = """
import torch

class Mine(torch.nn.Module):
    modality = "audio"
    input = dict(sample_rate=4000, seconds=2)

    def __init__(self):
        super().__init__()
        self.drop = torch.nn.Dropout(0.5)

    def good(self, waveform, lengths):
        frames = waveform[:, : waveform.shape[1] // 80 * 80].unflatten(1, (-1, 80))
        valid = torch.arange(frames.shape[1])[None] < (lengths // 80)[:, None]
        return (frames.abs() * valid[..., None]).sum(1) / valid.sum(1, keepdim=True)

    def forward(self, waveform, lengths):
"""

FAULTS = {
    "return self.good(waveform, lengths)[:, 0]": ("forward", "returns shape (4,)"),
    "return self.good(waveform, lengths)[:2]": ("forward", "for a batch of 4"),
    "return [1, 2]": ("forward", "returns a list, not a tensor"),
    "return self.good(waveform, lengths) / 0 * 0": ("finite", "NaN or infinite"),
    "return self.good(waveform, lengths).double()": ("dtype", "torch.float64: return float32"),
    "return self.good(waveform, lengths).half()": ("dtype", "torch.float16: return float32"),
    "x = self.good(waveform, lengths); return x - x.mean(0)": ("batch", "other examples"),
    "return waveform.unflatten(1, (-1, 80)).abs().mean(1)": ("padding", "zero-padded"),
    "return self.drop.train()(self.good(waveform, lengths))": ("deterministic", "something random"),
    "return self.good(waveform, lengths) + torch.rand(80)": ("deterministic", "something random"),
    "return torch.ones(len(waveform), 5)": ("constant", "same embedding for different inputs"),
    "return self.good(waveform, lengths)[:, : waveform.shape[1] // 200]": ("width", "must not"),
    "raise KeyError('nope')": ("forward", "raises KeyError: 'nope'"),
    "x = self.good(waveform, lengths); waveform.zero_(); return x": ("input", "in place"),
}  # fmt: skip


def load(tmp_path: Path, body: str) -> LoadedEncoder:
    path = tmp_path / "mine.py"
    path.write_text(HEAD + "        " + body + "\n")
    return load_encoder(str(path))


@pytest.mark.parametrize("body", FAULTS, ids=[" ".join(FAULTS[body]) for body in FAULTS])
def test_a_fault_is_found_and_named(tmp_path: Path, body: str) -> None:
    check, message = FAULTS[body]
    failed = [f for f in check_encoder(load(tmp_path, body)) if not f.passed]
    assert [finding.check for finding in failed] == [check]
    assert message in failed[0].detail
    assert "\n" not in failed[0].detail


def test_a_good_encoder_passes_every_check(tmp_path: Path) -> None:
    findings = list(check_encoder(load(tmp_path, "return self.good(waveform, lengths)")))
    assert all(finding.passed for finding in findings)
    assert {"forward", "dtype", "finite", "deterministic", "batch", "padding"} <= {
        finding.check for finding in findings
    }


def test_wrong_frames_and_patches_are_found() -> None:
    encoder = load_encoder("mock-spectrum")
    encoder.module.frames = lambda waveform, lengths: waveform[:, :10, None]
    failed = [f for f in check_encoder(encoder) if not f.passed]
    assert [f.check for f in failed] == ["frames"]
    assert "frame_rate = 50 Hz means 100" in failed[0].detail
    tiles = load_encoder("mock-colours")
    tiles.module.patches = lambda image: torch.zeros(len(image), 5, 3)
    failed = [f for f in check_encoder(tiles) if not f.passed]
    assert [f.check for f in failed] == ["patches"]
    assert "no square grid" in failed[0].detail


def test_padding_of_frames_is_checked() -> None:
    encoder = load_encoder("mock-spectrum")
    exact = encoder.module.frames
    encoder.module.frames = lambda waveform, lengths: (
        exact(waveform, lengths) + waveform.shape[1] / 1000
    )
    failed = {f.check: f.detail for f in check_encoder(encoder) if not f.passed}
    assert "zero-padded to the length of a neighbour" in failed["frames"]


def test_texts_must_share_a_space_with_inputs() -> None:
    encoder = load_encoder("mock-colours")
    encoder.module.encode_text = lambda texts: torch.zeros(len(texts), 7)
    failed = [f for f in check_encoder(encoder) if not f.passed]
    assert [f.check for f in failed] == ["text"]
    assert "return both in one space" in failed[0].detail
    encoder.module.joint = lambda image: torch.ones(len(image), 7)
    assert all(f.passed for f in check_encoder(encoder))
