"""ASTROMER against the authors' own code, an independent numpy network, and its checkpoint reader.

`REFERENCE` was computed with `ASTROMER/core/encoder.py` of the authors' library (commit 7526273) in
TensorFlow 2.21 on the weights of `published_state` and the curves of `reference_curves`.
"""

from __future__ import annotations

import base64
import math
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from baselines.astronomy import ENCODERS, astromer
from baselines.astronomy.astrom3_photometry import band_curves
from baselines.astronomy.astromer import Astromer, magnitudes, position_encoding, windows
from baselines.astronomy.astromer_checkpoint import VALUE, convert, read_bundle
from benchmark.checkpoint import load_into
from benchmark.errors import EncoderError

WIDTH, HEADS, HIDDEN, DEPTH, WINDOW = 8, 2, 6, 2, 10
REFERENCE = np.array(  # steps 0, 3, 6, 9 of the last block, two curves
    [
        [
            [-0.343839, -1.535723, 0.428749, -0.318431, -0.015988, -1.086695, -0.539533, 0.031081],
            [-0.343608, -1.535873, 0.429099, -0.318388, -0.016033, -1.086638, -0.538386, 0.03021],
            [-0.343828, -1.535728, 0.428769, -0.318429, -0.015991, -1.086691, -0.539467, 0.031032],
            [-0.343712, -1.535806, 0.428938, -0.318408, -0.016012, -1.086664, -0.538913, 0.03061],
        ],
        [
            [-0.333418, -1.538007, 0.444809, -0.316361, -0.018333, -1.08398, -0.486712, -0.007402],
            [-0.333418, -1.538007, 0.444809, -0.316361, -0.018333, -1.08398, -0.486712, -0.007402],
            [-0.333303, -1.538032, 0.44497, -0.316339, -0.018358, -1.083952, -0.486156, -0.007815],
            [-0.333303, -1.538032, 0.44497, -0.316339, -0.018358, -1.083952, -0.486156, -0.007815],
        ],
    ]
)
# `tf.train.Checkpoint(alpha=, beta=, gamma=, alphabet=).write(...)` of TensorFlow 2.21:
# float32 (2, 3), float32 scalar, int64 (2,), float32 (3,).
INDEX = (
    b"c-muNVB=tvV&Y(Akl~AW_HcFf4)FK%3vqPvagFzP@^W<!iFXfj4DjG!7h+Jb&^W_nIxR%knn6K0F{dCSQD4t7BqYew"
    b"DKx}2SU=1$$P=tD%+V**m4i`;Lx_ok35c0BBusrz9x!K>6HH1i!LNq}q+UTngU2*-{qmO#^1MJD1gv3DP|;v9Wxr9%"
    b"%b*~bo|v19S3M`#3MK^&4FOZT%ck`VK)?th0{<TV1m_(1v~U9hBXb5rClg%E&x-v@9}~xHCVmEjApCbjw@Rt|Z2(Eg"
    b"O9u"
)
DATA = (
    b"c-muN0D%TOAYsqI-~hx8K)e8m8SD^P!GVzh0{%n6F{b1Xw@+~yadC1m3b7{U6l5fF@o+E+ae$dgsU=(-9Lz#2Kt>`^"
    b"35yVGdSY&Fq81YeBbSqq4HsXSW00q#laFhBn4?dqs}M(6Vo_#dQckLr0@wh3J;#ucAWx^z5Z7RRRJC9;T!rlMn4t`F"
    b"1R-M_g{<)yBM)*tAtMO*2JCGDW&i;9&12^"
)


def published_state(head: bool = False) -> dict[str, torch.Tensor]:
    """Random weights under the names of the published checkpoints."""
    shapes: list[tuple[str, tuple[int, ...]]] = [
        ("inp_transform/kernel", (1, WIDTH)),
        ("inp_transform/bias", (WIDTH,)),
    ]
    for i in range(DEPTH):
        at = f"enc_layers/{i}"
        for name in ("wq", "wk", "wv", "dense"):
            shapes.append((f"{at}/mha/{name}/kernel", (WIDTH, WIDTH)))
            shapes.append((f"{at}/mha/{name}/bias", (WIDTH,)))
        for j, (rows, columns) in enumerate(((WIDTH, HIDDEN), (HIDDEN, WIDTH))):
            shapes.append((f"{at}/ffn/layer_with_weights-{j}/kernel", (rows, columns)))
            shapes.append((f"{at}/ffn/layer_with_weights-{j}/bias", (columns,)))
        for name in ("layernorm1", "layernorm2"):
            shapes += [(f"{at}/{name}/gamma", (WIDTH,)), (f"{at}/{name}/beta", (WIDTH,))]
    rng = np.random.default_rng(0)
    state = {
        f"layer_with_weights-0/{name}{VALUE}": torch.tensor(
            (0.7 * rng.standard_normal(shape)).astype(np.float32)
        )
        for name, shape in shapes
    }
    if head:
        state[f"layer_with_weights-1/reg_layer/kernel{VALUE}"] = torch.ones(WIDTH, 1)
        state[f"layer_with_weights-1/bn_0/gamma{VALUE}"] = torch.ones(WIDTH)
        state[f"optimizer/iter{VALUE}"] = torch.tensor(1)
    return state


def reference_curves() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    step = np.arange(WINDOW)
    mask = (step < np.array([[10], [6]])).astype(np.float32)
    times = np.stack([37 * (step + 0.3 * np.sin(step)), 11 * (step + 0.4 * np.cos(step))])
    values = np.stack([np.sin(1.3 * step), 0.5 * np.cos(2.1 * step)])

    def centred(x: np.ndarray) -> torch.Tensor:
        mean = (x * mask).sum(1, keepdims=True) / mask.sum(1, keepdims=True)
        return torch.tensor(((x - mean) * mask).astype(np.float32))

    return centred(times), centred(values), torch.tensor(mask)


@pytest.fixture
def encoder() -> Astromer:
    module = Astromer(WIDTH, HEADS, HIDDEN, DEPTH, WINDOW)
    module.load_checkpoint(published_state())
    return module.eval()


def curves(lengths: list[int], bands: int = 3, padding: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    photometry = torch.zeros(len(lengths), max(lengths) + padding, 4)
    for row, length in zip(photometry, lengths, strict=True):
        row[:length, 0] = torch.rand(length).cumsum(0) * 20
        row[:length, 1] = torch.randn(length) * 30
        row[:length, 2] = torch.rand(length) + 1
        row[:length, 3] = torch.randint(0, bands, (length,))
    return {"photometry": photometry, "lengths": torch.tensor(lengths)}


@torch.inference_mode()
def test_the_authors_output_is_reproduced(encoder):
    output = encoder.tokens(*reference_curves())[-1][:, ::3]
    assert np.abs(output.numpy() - REFERENCE).max() < 2e-6


@torch.inference_mode()
def test_padding_is_attended_to_as_in_the_published_model(encoder, monkeypatch):
    times, values, mask = reference_curves()
    monkeypatch.setattr(astromer, "MASKED", -1e9)
    excluded = encoder.tokens(times, values, mask)[-1]
    assert np.abs(excluded[1, ::3].numpy() - REFERENCE[1]).max() > 1e-3
    np.testing.assert_allclose(excluded[0, ::3].numpy(), REFERENCE[0], atol=2e-6)


@torch.inference_mode()
@pytest.mark.parametrize(("width", "heads", "size"), [(6, 3, 7), (12, 2, 15), (8, 1, 3)])
def test_any_geometry_agrees_with_a_plain_network_in_numpy(width, heads, size):
    torch.manual_seed(2)
    module = Astromer(width, heads, 5, 3, size, base=500.0).eval()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    w = {name: value.double().numpy() for name, value in module.state_dict().items()}
    times, values = np.random.default_rng(3).normal(0, 20, (2, size))
    mask = (np.arange(size) < size - 2).astype(float)

    def linear(x, name):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(x, name):
        deviation = x - x.mean(-1, keepdims=True)
        scale = np.sqrt((deviation**2).mean(-1, keepdims=True) + 1e-6)
        return deviation / scale * w[f"{name}.weight"] + w[f"{name}.bias"]

    x = linear(values[:, None], "inp_transform")
    for i in range(width):
        angle = times / 500.0 ** (2 * i / width)
        x[:, i] += np.cos(angle) if i % 2 else np.sin(angle)
    for layer in range(3):
        at = f"enc_layers.{layer}"
        q, k, v = (linear(x, f"{at}.mha.{name}") for name in ("wq", "wk", "wv"))
        mixed = np.zeros_like(x)
        depth = width // heads
        for head in range(heads):
            part = slice(head * depth, (head + 1) * depth)
            for i in range(size):
                logit = q[i, part] @ k[:, part].T / math.sqrt(depth)
                logit += np.where((mask[i] == 0) | (mask == 0), 1.0, 0.0)
                weight = np.exp(logit - logit.max())
                mixed[i, part] = weight / weight.sum() @ v[:, part]
        x = norm(linear(mixed, f"{at}.mha.dense"), f"{at}.layernorm1")
        x = norm(linear(np.tanh(linear(x, f"{at}.ffn.0")), f"{at}.ffn.2"), f"{at}.layernorm2")
    given = (torch.tensor(a[None], dtype=torch.float32) for a in (times, values, mask))
    assert np.abs(module.tokens(*given)[-1][0].numpy() - x).max() < 1e-4


def test_position_encoding_at_large_times_keeps_its_precision():
    times = torch.tensor([[1234.5, -987.25]])
    angle = times.double().numpy()[0, :, None] * 1e4 ** (-2 * np.arange(16) / 16)
    expected = np.where(np.arange(16) % 2, np.cos(angle), np.sin(angle))
    assert np.abs(position_encoding(times, 16, 1e4)[0].numpy() - expected).max() < 1e-6


@torch.inference_mode()
def test_padding_and_batch_do_not_matter(encoder):
    lengths = [40, 7, 25, 1]
    whole = encoder(**curves(lengths))
    torch.testing.assert_close(encoder(**curves(lengths, padding=13)), whole, atol=1e-5, rtol=1e-4)
    given = curves(lengths)
    for row, length in enumerate(lengths):
        alone = encoder(given["photometry"][row : row + 1, :length], torch.tensor([length]))
        torch.testing.assert_close(alone[0], whole[row], atol=1e-5, rtol=1e-4)
    empty = encoder(torch.zeros(1, 3, 4), torch.tensor([0]))
    assert empty.isfinite().all()


@torch.inference_mode()
def test_bands_are_averaged_by_their_observations(encoder):
    given = curves([30], bands=2)["photometry"]
    one, two = (given[:, given[0, :, 3] == band] for band in (0, 1))
    counts = torch.tensor([one.shape[1], two.shape[1]])
    apart = [encoder(part, torch.tensor([part.shape[1]])) for part in (one, two)]
    expected = (apart[0] * counts[0] + apart[1] * counts[1]) / counts.sum()
    torch.testing.assert_close(encoder(given, torch.tensor([30])), expected, atol=1e-5, rtol=1e-4)
    encoder.bands = "best"
    fullest = apart[int(counts.argmax())]
    torch.testing.assert_close(encoder(given, torch.tensor([30])), fullest, atol=1e-5, rtol=1e-4)


def test_windows_cover_long_curves_and_the_last_ends_with_them():
    given = curves([23, 4], bands=1)
    single = band_curves(given["photometry"], given["lengths"], "mean")
    times, values, mask, owner = windows(single, single.flux, 10)
    assert owner.tolist() == [0, 0, 0, 1]
    assert mask.sum(1).tolist() == [10, 10, 10, 4]
    flux = given["photometry"][0, :, 1].double()
    last = flux[13:23] - flux[13:23].mean()
    torch.testing.assert_close(values[2].double(), last, atol=1e-5, rtol=0)
    assert times.sum(1).abs().max() < 1e-3


def test_magnitudes_are_the_ordinary_ones_far_above_the_noise():
    flux = torch.tensor([100.0, 250.0, 4000.0, 90.0])
    photometry = torch.stack([torch.arange(4.0), flux, torch.full((4,), 0.1), torch.zeros(4)], -1)
    single = band_curves(photometry[None], torch.tensor([4]), "mean")
    found = magnitudes(single)[0]
    expected = -2.5 * torch.log10(flux.double())
    torch.testing.assert_close(found - found[0], expected - expected[0], atol=1e-5, rtol=0)
    photometry[:, 1] *= -1
    assert magnitudes(band_curves(photometry[None], torch.tensor([4]), "mean")).isfinite().all()


@torch.inference_mode()
def test_layers_end_with_the_embedding(encoder):
    given = curves([12, 30])
    layers = encoder.layers(**given)
    assert layers.shape == (DEPTH + 1, 2, WIDTH)
    torch.testing.assert_close(layers[-1], encoder(**given))


@torch.inference_mode()
def test_bfloat16_autocast_changes_nothing(encoder):
    given = curves([12, 30])
    with torch.autocast("cpu", torch.bfloat16):
        half = encoder(**given)
    torch.testing.assert_close(half, encoder(**given))


def test_reading_a_tensorflow_checkpoint(tmp_path):
    (tmp_path / "weights.index").write_bytes(zlib.decompress(base64.b85decode(INDEX)))
    (tmp_path / "weights.data-00000-of-00001").write_bytes(zlib.decompress(base64.b85decode(DATA)))
    found = read_bundle(tmp_path / "weights")
    assert set(found) == {f"alpha{VALUE}", f"beta{VALUE}", f"alphabet{VALUE}"}
    torch.testing.assert_close(found[f"alpha{VALUE}"], torch.arange(6.0).reshape(2, 3) / 4)
    assert found[f"beta{VALUE}"] == 2.5
    torch.testing.assert_close(found[f"alphabet{VALUE}"], torch.full((3,), 0.125))
    assert convert(tmp_path / "weights", tmp_path / "weights.safetensors") == 3


def test_a_damaged_tensorflow_checkpoint_is_refused(tmp_path):
    with pytest.raises(EncoderError, match=r"there is no .*weights\.index"):
        read_bundle(tmp_path / "weights")
    index = zlib.decompress(base64.b85decode(INDEX))
    (tmp_path / "weights.data-00000-of-00001").write_bytes(b"\0" * 10)
    for damaged in (index[:-20], index, b""):
        (tmp_path / "weights.index").write_bytes(damaged)
        with pytest.raises(EncoderError, match="no whole TensorFlow checkpoint"):
            read_bundle(tmp_path / "weights")


@torch.inference_mode()
def test_published_and_own_names_load_from_a_file(encoder, tmp_path: Path):
    for state in (published_state(head=True), encoder.state_dict()):
        save_file(
            {name: value.contiguous() for name, value in state.items()}, tmp_path / "w.safetensors"
        )
        module = Astromer(WIDTH, HEADS, HIDDEN, DEPTH, WINDOW)
        load_into(module, tmp_path / "w.safetensors", "astromer")
        for name, value in module.state_dict().items():
            assert torch.equal(value, encoder.state_dict()[name])


def test_a_wrong_checkpoint_is_refused_by_key(encoder):
    name = f"layer_with_weights-0/enc_layers/1/mha/wk/kernel{VALUE}"
    missing = {key: value for key, value in published_state().items() if key != name}
    with pytest.raises(EncoderError, match=r"missing: enc_layers\.1\.mha\.wk\.weight"):
        encoder.load_checkpoint(missing)
    with pytest.raises(EncoderError, match=r"surplus: enc_layers\.0\.reshape_leak_1\.weight"):
        leak = f"layer_with_weights-0/enc_layers/0/reshape_leak_1/kernel{VALUE}"
        encoder.load_checkpoint(published_state() | {leak: torch.ones(WIDTH, WIDTH)})
    with pytest.raises(EncoderError, match="wrong shape: enc_layers"):
        Astromer(WIDTH, HEADS, HIDDEN + 1, DEPTH).load_checkpoint(published_state())


def test_bad_options_are_refused():
    with pytest.raises(EncoderError, match="'flux' or 'magnitude'"):
        Astromer(photometry="counts")  # type: ignore[arg-type]
    with pytest.raises(EncoderError, match="'mean'"):
        Astromer(bands="all")(**curves([3]))  # type: ignore[arg-type]


def test_card():
    card = next(card for card in ENCODERS if card.name == "astromer")
    with torch.device("meta"):
        parameters = sum(p.numel() for p in Astromer(**card.options).parameters())
    assert card.parameters == parameters
