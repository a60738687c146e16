"""AstroM3 against the authors' outputs, a plain numpy Informer, and scipy for the preparation."""

from __future__ import annotations

import inspect
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from scipy.stats import median_abs_deviation

from baselines.astronomy import ENCODERS
from baselines.astronomy.astrom3 import AstroM3
from baselines.astronomy.astrom3_photometry import band_curves, over_bands, prepare_photometry
from baselines.astronomy.astrom3_spectra import GalSpecNet, prepare_spectra
from baselines.astronomy.informer import Informer
from benchmark.checkpoint import load_into
from benchmark.errors import EncoderError
from tasks.astronomy import plasticc

SMALL = {
    "seq_len": 20,
    "hidden_dim": 16,
    "p_d_model": 8,
    "p_d_ff": 12,
    "p_n_heads": 2,
    "p_e_layers": 2,
    "s_conv_channels": (3, 4, 4),
    "s_points": 300,
    "m_hidden_dim": 10,
}


@pytest.fixture
def encoder() -> AstroM3:
    torch.manual_seed(0)
    return AstroM3(**SMALL).eval()


def curves(lengths: list[int], bands: int = 1, padding: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    photometry = torch.zeros(len(lengths), max(lengths) + padding, 4)
    for row, length in zip(photometry, lengths, strict=True):
        row[:length, 0] = torch.rand(length).cumsum(0) * 20
        row[:length, 1] = torch.randn(length) * 30 + 100
        row[:length, 2] = torch.rand(length) + 1
        row[:length, 3] = torch.randint(0, bands, (length,))
    return {"photometry": photometry, "lengths": torch.tensor(lengths)}


# Reference outputs


@pytest.fixture
def reference(shared_data: Path) -> tuple[dict, dict[str, torch.Tensor]]:
    path = shared_data.parent / "fixtures" / "astrom3.safetensors"
    if not path.is_file():
        pytest.skip("the reference outputs are not beside the checkout")
    with safe_open(path, "pt") as file:
        config = json.loads(file.metadata()["config"])
        return config, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


@pytest.mark.shared_data
@pytest.mark.parametrize("layout", ["hub", "training"])
@torch.inference_mode()
def test_the_authors_outputs_are_reproduced(reference, layout, tmp_path):
    config, tensors = reference
    state = {k.removeprefix("state/"): v for k, v in tensors.items() if k.startswith("state/")}
    if layout == "hub":
        path = tmp_path / "model.safetensors"
        save_file(state, path)
    else:
        path = tmp_path / "weights-best.pth"
        torch.save({f"module.{key}": value for key, value in state.items()}, path)
    known = inspect.signature(AstroM3).parameters
    encoder = AstroM3(**{key: value for key, value in config.items() if key in known}).eval()
    load_into(encoder, path, "astrom3")
    given = [tensors[f"input/{name}"] for name in ("photometry", "mask", "spectra", "metadata")]
    for source in (None, torch.Generator().manual_seed(5)):
        found = encoder.embed(*given, generator=source)
        for tower, published in (
            ("photometry", "photometry"),
            ("spectrum", "spectra"),
            ("metadata", "metadata"),
        ):
            assert (found[tower] - tensors[f"output/{published}"]).abs().max() <= 1e-5
    alone = encoder.embed(photometry=given[0][1:2], mask=given[1][1:2])["photometry"]
    assert (alone - tensors["output/photometry"][1:2]).abs().max() <= 1e-5
    other = encoder.embed(given[0], given[1], generator=torch.Generator().manual_seed(6))
    assert (other["photometry"] - tensors["output/photometry"]).abs().max() > 1e-4


# The Informer


def plain_informer(state, steps, mask, heads, factor, activation, generator):
    """The network one example, layer, head and step at a time, in float64."""
    w = {name: value.double().numpy() for name, value in state.items()}

    def linear(x, name):
        return x @ w[f"{name}.weight"].reshape(len(w[f"{name}.bias"]), -1).T + w[f"{name}.bias"]

    def norm(x, name):
        deviation = x - x.mean(-1, keepdims=True)
        scale = np.sqrt((deviation**2).mean(-1, keepdims=True) + 1e-5)
        return deviation / scale * w[f"{name}.weight"] + w[f"{name}.bias"]

    def act(x):
        if activation == "relu":
            return np.maximum(x, 0)
        return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))

    length, count = len(steps), min(factor * math.ceil(math.log(len(steps))), len(steps))
    kernel = w["enc_embedding.value_embedding.tokenConv.weight"]
    width = len(kernel)
    depth = width // heads
    x = np.zeros((length, width))
    for i in range(length):
        for tap in range(3):
            x[i] += kernel[:, :, tap] @ steps[(i + tap - 1) % length]
    x += w["enc_embedding.position_embedding.pe"][0, :length]
    layer = 0
    while f"encoder.attn_layers.{layer}.conv1.bias" in w:
        at = f"encoder.attn_layers.{layer}"
        sample = torch.randint(length, (length, count), generator=generator).numpy()
        q, k, v = (linear(x, f"{at}.attention.{n}_projection") for n in ("query", "key", "value"))
        context = np.zeros((heads, length, depth))
        for head in range(heads):
            part = slice(head * depth, (head + 1) * depth)
            context[head] = v[:, part].mean(0)
            measure = np.zeros(length)
            for i in range(length):
                score = [q[i, part] @ k[j, part] for j in sample[i]]
                measure[i] = max(score) - sum(score) / length
            for i in np.argsort(-measure)[:count]:
                logit = k[:, part] @ q[i, part] / math.sqrt(depth)
                weight = np.exp(logit - logit.max())
                context[head, i] = weight / weight.sum() @ v[:, part]
        mixed = linear(context.reshape(length, width), f"{at}.attention.out_projection")
        x = norm(x + mixed, f"{at}.norm1")
        x = norm(x + linear(act(linear(x, f"{at}.conv1")), f"{at}.conv2"), f"{at}.norm2")
        layer += 1
    return norm(x, "encoder.norm") * mask[:, None]


@torch.inference_mode()
@pytest.mark.parametrize(
    ("length", "heads", "factor", "activation"),
    [(20, 2, 1, "gelu"), (37, 4, 2, "relu"), (5, 1, 5, "gelu")],
)
def test_the_informer_agrees_with_a_plain_one(length, heads, factor, activation):
    torch.manual_seed(3)
    module = Informer(9, 8, heads, 2, 12, factor, activation).eval()
    steps, mask = torch.randn(3, length, 9), torch.ones(3, length)
    mask[1, length // 2 :] = 0
    steps *= mask[..., None]
    found = module(steps, mask, torch.Generator().manual_seed(11))
    for row in range(3):
        source = torch.Generator().manual_seed(11)
        expected = plain_informer(
            module.state_dict(),
            steps[row].double().numpy(),
            mask[row].numpy(),
            heads,
            factor,
            activation,
            source,
        )
        assert np.abs(found[row].numpy() - expected).max() < 1e-4


@torch.inference_mode()
def test_the_global_random_state_is_neither_used_nor_changed(encoder):
    given = curves([12, 30])
    first = encoder(**given)
    torch.manual_seed(99)
    before = torch.get_rng_state()
    assert torch.equal(encoder(**given), first)
    assert torch.equal(torch.get_rng_state(), before)
    encoder.seed = 6
    assert not torch.allclose(encoder(**given), first)


@torch.inference_mode()
def test_bfloat16_autocast_keeps_the_direction(encoder):
    given = curves([12, 30]) | {"spectrum": spectrum(2), "metadata": torch.randn(2, 34)}
    with torch.autocast("cpu", torch.bfloat16):
        half = encoder.towers(**given)
    for tower, full in encoder.towers(**given).items():
        assert (half[tower] * full).sum(-1).min() > 0.999


# Light curves


def plain_photometry(curve: np.ndarray, auxiliary: np.ndarray, length: int):
    """The authors' preparation of one (L, 3) curve, with numpy and scipy."""
    curve = np.unique(curve.astype(np.float64), axis=0)
    mad = median_abs_deviation(curve[:, 1])
    span = np.ptp(curve[:, 0])
    columns = np.stack(
        [
            (curve[:, 0] - curve[0, 0]) / span,
            (curve[:, 1] - curve[:, 1].mean()) / mad,
            curve[:, 2] / mad,
        ],
        1,
    )
    start = max((len(columns) - length) // 2, 0)
    columns = columns[start : start + length]
    steps = np.zeros((length, 9))
    steps[: len(columns), :3] = columns
    steps[:, 3:] = [*auxiliary, np.log10(mad), span / 365]
    return steps, (np.arange(length) < len(columns)).astype(np.float32)


@pytest.mark.parametrize("lengths", [[20, 7, 33], [2, 21, 50], [200, 19, 3]])
def test_light_curves_are_prepared_as_by_the_authors(lengths):
    given = curves(lengths, padding=4)
    photometry = given["photometry"]
    photometry[0, 1] = photometry[0, 0]  # a repeated row
    photometry[1, : lengths[1]] = photometry[1, : lengths[1]].flip(0)  # out of order
    auxiliary = torch.randn(3, 4)
    single = band_curves(photometry, given["lengths"], "mean")
    steps, mask = prepare_photometry(single, auxiliary, 20)
    for row, length in enumerate(lengths):
        if length - (row == 0) < 2:
            continue
        curve = photometry[row, :length, :3].numpy()
        expected, seen = plain_photometry(curve, auxiliary[row].double().numpy(), 20)
        np.testing.assert_array_equal(mask[row].numpy(), seen)
        np.testing.assert_allclose(steps[row].numpy(), expected, atol=1e-5, rtol=1e-5)


def test_real_cadences_agree_band_by_band():
    import pandas as pd

    rows = pd.read_parquet(plasticc.TABLE).iloc[::400].to_dict("records")
    objects = [plasticc.decode(r["time"], r["flux"], r["error"], r["band"]) for r in rows]
    longest = max(map(len, objects))
    batch = torch.stack(
        [torch.from_numpy(np.pad(c, ((0, longest - len(c)), (0, 0)))) for c in objects]
    )
    lengths = torch.tensor([len(c) for c in objects])
    single = band_curves(batch, lengths, "mean")
    steps, mask = prepare_photometry(single, None, 40)
    row = 0
    for index, curve in enumerate(objects):
        for band in np.unique(curve[:, 3]):
            assert single.example[row] == index
            one = curve[curve[:, 3] == band, :3]
            expected, seen = plain_photometry(one, np.zeros(4), 40)
            np.testing.assert_array_equal(mask[row].numpy(), seen)
            np.testing.assert_allclose(steps[row].numpy(), expected, atol=1e-4, rtol=1e-4)
            row += 1
    assert row == len(steps)


@torch.inference_mode()
def test_constant_short_and_empty_curves_give_finite_embeddings(encoder):
    photometry = torch.zeros(4, 6, 4)
    photometry[0, :, 0] = torch.arange(6.0)
    photometry[0, :, 1] = 3.0
    photometry[1, :4, 1] = torch.tensor([1.0, 1.0, 1.0, 9.0])  # MAD 0, one time
    lengths = torch.tensor([6, 4, 1, 0])
    embedding = encoder(photometry, lengths)
    assert embedding.isfinite().all()
    torch.testing.assert_close(embedding.norm(dim=-1), torch.ones(4))


@torch.inference_mode()
def test_padding_and_batch_do_not_matter(encoder):
    lengths = [40, 7, 25, 1]
    whole = encoder(**curves(lengths, bands=3))
    padded = encoder(**curves(lengths, bands=3, padding=13))
    torch.testing.assert_close(padded, whole, atol=1e-5, rtol=1e-4)
    given = curves(lengths, bands=3)
    for row, length in enumerate(lengths):
        alone = encoder(given["photometry"][row : row + 1, :length], torch.tensor([length]))
        torch.testing.assert_close(alone[0], whole[row], atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_bands_are_embedded_apart(encoder):
    given = curves([30], bands=2)["photometry"]
    parts = [given[:, given[0, :, 3] == band] for band in (0, 1)]
    apart = [encoder(part, torch.tensor([part.shape[1]])) for part in parts]
    counts = [part.shape[1] for part in parts]
    mean = torch.nn.functional.normalize(apart[0] * counts[0] + apart[1] * counts[1], dim=-1)
    torch.testing.assert_close(encoder(given, torch.tensor([30])), mean, atol=1e-5, rtol=1e-4)
    encoder.bands = "best"
    best = apart[int(np.argmax(counts))]
    torch.testing.assert_close(encoder(given, torch.tensor([30])), best, atol=1e-5, rtol=1e-4)


def test_band_numbers_carry_no_meaning():
    given = curves([30, 12], bands=3)
    moved = given["photometry"].clone()
    moved[..., 3] = moved[..., 3] * 7 + 900
    one, two = (band_curves(p, given["lengths"], "mean") for p in (given["photometry"], moved))
    assert torch.equal(one.flux, two.flux)
    shares = over_bands(torch.eye(len(one.counts)), one)
    torch.testing.assert_close(shares.sum(1), torch.ones(2))


# Spectra


def spectrum(batch: int, points: int = 180) -> torch.Tensor:
    torch.manual_seed(4)
    wavelength = torch.linspace(3700, 9100, points).expand(batch, -1)
    return torch.stack([wavelength, torch.rand(batch, points) + 1], 1)


def plain_spectrum(wavelength, flux, error, points):
    grid = 3850 + 2 * np.arange(points)
    flux, error = np.interp(grid, wavelength, flux), np.interp(grid, wavelength, error)
    mad = median_abs_deviation(flux[flux != 0])
    return np.stack([(flux - flux.mean()) / mad, error / mad, np.full(points, np.log10(mad))])


@pytest.mark.parametrize("points", [2575, 300])
def test_spectra_are_prepared_as_by_the_authors(points):
    rng = np.random.default_rng(5)
    batch = np.zeros((3, 3, 120))
    expected = []
    for row, count in zip(batch, (120, 90, 61), strict=True):  # zero-padded beyond `count`
        wavelength = np.sort(rng.uniform(3500 + count, 9200, count))
        flux, error = rng.normal(5, 2, count), rng.uniform(0, 1, count)
        flux[20:60] = 0
        row[:, :count] = wavelength, flux, error
        wavelength, flux, error = row[:, :count].astype(np.float32).astype(np.float64)
        expected.append(plain_spectrum(wavelength, flux, error, points))
    found = prepare_spectra(torch.tensor(batch, dtype=torch.float32), points)
    assert found.shape == (3, 3, points)
    assert np.abs(found.numpy() - np.stack(expected)).max() < 1e-4
    without = prepare_spectra(torch.tensor(batch[:, :2], dtype=torch.float32), points)
    assert torch.equal(without[:, [0, 2]], found[:, [0, 2]])
    assert not without[:, 1].any()


@pytest.mark.parametrize("unit", [10.0, 1e4])
def test_nanometres_and_micrometres_are_understood(unit):
    given = spectrum(2)
    other = given.clone()
    other[:, 0] /= unit
    torch.testing.assert_close(prepare_spectra(other), prepare_spectra(given), atol=1e-2, rtol=1e-3)


def test_a_flat_or_dark_spectrum_is_finite():
    given = spectrum(2)
    given[0, 1], given[1, 1] = 3.0, 0.0
    assert prepare_spectra(given).isfinite().all()


@pytest.mark.shared_data
@torch.inference_mode()
def test_real_lamost_spectra_agree_with_scipy(shared_data):
    fits = pytest.importorskip("astropy.io.fits")
    files = sorted((shared_data / "lamost-sample").rglob("*.fits"))[:8]
    if not files:
        pytest.skip("the LAMOST spectra are not beside the checkout")
    for file in files:
        with fits.open(file) as opened:
            header, flux = opened[0].header, np.asarray(opened[0].data[0], np.float32)
        wavelength = 10 ** (header["COEFF0"] + header["COEFF1"] * np.arange(len(flux)))
        wavelength = wavelength.astype(np.float32)
        found = prepare_spectra(torch.tensor(np.stack([wavelength, flux])[None]))[0].numpy()
        double = wavelength.astype(np.float64), flux.astype(np.float64)
        expected = plain_spectrum(*double, np.zeros(len(flux)), 2575)
        assert np.abs(found - expected).max() < 1e-3 * max(1.0, np.abs(expected).max())


def test_the_spectrum_network_has_the_published_size():
    assert GalSpecNet().features == 1184
    with pytest.raises(EncoderError, match="too few"):
        GalSpecNet(points=100)


# Towers


@torch.inference_mode()
def test_towers_are_those_given_and_of_length_one(encoder):
    inputs = curves([20, 30]) | {"spectrum": spectrum(2), "metadata": torch.randn(2, 34)}
    towers = encoder.towers(**inputs)
    assert list(towers) == ["photometry", "spectrum", "metadata"]
    for values in towers.values():
        assert values.shape == (2, 16)
        torch.testing.assert_close(values.norm(dim=-1), torch.ones(2))
    torch.testing.assert_close(encoder(**inputs), torch.cat(list(towers.values()), -1))
    only = encoder.towers(spectrum=inputs["spectrum"])
    assert list(only) == ["spectrum"]
    torch.testing.assert_close(only["spectrum"], towers["spectrum"])


@torch.inference_mode()
def test_metadata_of_other_widths(encoder):
    values = torch.randn(2, 38)
    values[0, 2] = torch.nan
    mean = values.nan_to_num(0.0)
    given = curves([20, 30])
    full = encoder.towers(**given, metadata=values)
    torch.testing.assert_close(full["metadata"], encoder(metadata=mean[:, :34]))
    without = encoder.towers(**given, metadata=values[:, :34])
    torch.testing.assert_close(full["metadata"], without["metadata"])
    assert not torch.allclose(full["photometry"], without["photometry"])
    short = torch.nn.functional.pad(mean[:, :20], (0, 14))
    torch.testing.assert_close(encoder(metadata=values[:, :20]), encoder(metadata=short))
    for width in (35, 39):
        with pytest.raises(EncoderError, match=f"metadata has {width} columns"):
            encoder(metadata=torch.zeros(1, width))


# Checkpoints and the card


def test_a_wrong_checkpoint_is_refused_by_key(encoder, tmp_path):
    state = encoder.state_dict()
    extra = {f"logit_scale_{pair}": torch.tensor(4.6) for pair in ("ps", "sm", "mp")}
    classifier = {"fc.weight": torch.zeros(10, 16), "fc.bias": torch.zeros(10)}
    encoder.load_checkpoint({**state, **extra, **classifier})
    key = "photometry_encoder.encoder.attn_layers.1.attention.key_projection.weight"
    with pytest.raises(EncoderError, match=f"missing: {key}"):
        encoder.load_checkpoint({name: value for name, value in state.items() if name != key})
    with pytest.raises(EncoderError, match=r"surplus: image_encoder\.weight"):
        encoder.load_checkpoint({**state, "image_encoder.weight": torch.zeros(1)})
    path = tmp_path / "model.safetensors"
    save_file(AstroM3(**{**SMALL, "m_hidden_dim": 11}).state_dict(), path)
    with pytest.raises(EncoderError, match=r"does not fit astrom3; wrong shape: metadata_encoder"):
        load_into(encoder, path, "astrom3")


def test_card():
    card = next(card for card in ENCODERS if card.name == "astrom3")
    with torch.device("meta"):
        module = AstroM3(**card.options)
    assert card.parameters == sum(p.numel() for p in module.parameters())
    assert card.dimension == 3 * module.metadata_proj.out_features
