from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from benchmark.errors import SslBenchError
from benchmark.overlap import Overlap
from benchmark.protocols import protocol
from benchmark.protocols.contract import Split
from benchmark.protocols.segmentation import annotated_patches, patch_shares, pixel_counts

GRID, SIZE = 8, 32


def discs(number: int, seed: int, noise: float = 0.3, size: int = SIZE) -> Split:
    """Images of one disc; patch embeddings are a random map of the class shares plus noise."""
    generator = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(3, 12))
    yy, xx = np.mgrid[:size, :size] + 0.5
    masks, embeddings = [], []
    for _ in range(number):
        cx, cy = generator.uniform(0.3, 0.7, 2) * size
        distance = np.hypot(xx - cx, yy - cy) / size
        mask = np.where(distance < 0.15, 2, np.where(distance < 0.3, 1, 0)).astype(np.uint8)
        shares = patch_shares(mask, (GRID, GRID), 3)
        embeddings.append(shares @ mixing + noise * generator.normal(size=(GRID, GRID, 12)))
        masks.append(mask)
    return Split(
        np.stack(embeddings).astype(np.float32), masks,
        np.array([f"{seed}-patient{i // 2}" for i in range(number)]),
        np.array([f"{seed}-{i}" for i in range(number)]),
    )  # fmt: skip


@pytest.fixture
def card(make_card):
    return make_card("segmentation", "dice", classes=("background", "wall", "cavity"))


def test_discs_are_segmented(card):
    parts = discs(20, 1), discs(8, 2), discs(12, 3)
    scores = protocol("linear-probe").run(*parts, card)
    assert scores.metrics == protocol("linear-probe").run(*parts, card).metrics
    assert scores.metrics["dice"].value > 0.75
    assert scores.metrics["miou"].value > 0.6
    assert set(scores.per_class) == {"background", "wall", "cavity"}
    foreground = [scores.per_class[name]["dice"] for name in ("wall", "cavity")]
    assert scores.metrics["dice"].value == pytest.approx(np.mean(foreground))
    blind = protocol("linear-probe").run(
        *(discs(n, s, 30) for n, s in ((20, 1), (8, 2), (12, 3))), card
    )
    assert blind.metrics["dice"].value < 0.4


def test_without_validation_and_with_masks_of_another_size(card):
    scores = protocol("linear-probe").run(discs(16, 1), None, discs(8, 3, size=45), card)
    assert "cross-validation" in scores.hyperparameters["selection"]
    assert scores.metrics["dice"].value > 0.7


def test_ignored_pixels_do_not_count(card):
    parts = discs(16, 1), discs(6, 2), discs(8, 3)
    clean = protocol("linear-probe").run(*parts, card)
    for mask in parts[0].targets:
        mask[:, :4] = 255  # one column of patches without annotation
    scores = protocol("linear-probe").run(*parts, card)
    assert scores.counts["train_patches"] == 16 * GRID * (GRID - 1)
    assert scores.metrics["dice"].value == pytest.approx(clean.metrics["dice"].value, abs=0.05)


def test_patch_shares_are_fractions_of_annotated_pixels():
    mask = np.array([[0, 0, 1, 255], [0, 1, 255, 255], [2, 2, 0, 1], [2, 2, 1, 0]], dtype=np.uint8)
    shares = patch_shares(mask, (2, 2), 3)
    np.testing.assert_allclose(shares[0, 0], [0.75, 0.25, 0])
    np.testing.assert_allclose(shares[0, 1], [0, 1, 0])
    np.testing.assert_allclose(shares[1], [[0, 0, 1], [0.5, 0.5, 0]])
    mask[0:2, 2:] = 255
    assert annotated_patches(mask, (2, 2), 3).tolist() == [True, False, True, True]
    assert annotated_patches(mask, (2, 2), 2).tolist() == [True, False, False, True]


def test_pixel_counts_give_the_scores_of_scikit_learn():
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(4, 4, 3))
    mask = generator.integers(0, 3, (13, 11)).astype(np.uint8)
    mask[0] = 255
    table = [part[None] for part in pixel_counts(logits, mask)]
    upsampled = torch.nn.functional.interpolate(
        torch.from_numpy(logits.transpose(2, 0, 1)[None]), (13, 11), mode="bilinear"
    )
    predicted = upsampled[0].argmax(0).numpy()[1:].ravel()
    truth = mask[1:].ravel()
    overlap = Overlap(*table, np.zeros(1, int), 1, np.array([False, True, True]))
    found = overlap(np.ones((1, 1)))
    assert found["miou"][0] == pytest.approx(sk.jaccard_score(truth, predicted, average="macro"))
    dice = sk.f1_score(truth, predicted, average=None)[1:].mean()
    assert found["dice"][0] == pytest.approx(dice)


def test_clip_embeddings_are_refused(card, make_split):
    split = make_split(8, 1)
    with pytest.raises(SslBenchError, match="let the encoder offer patches"):
        protocol("linear-probe").run(split, None, split, card)


def test_nan_in_a_patch_names_the_image(card):
    parts = discs(6, 1), discs(4, 2), discs(4, 3)
    parts[0].embeddings[3, 2, 5, 1] = np.inf
    with pytest.raises(SslBenchError, match="'1-3'"):
        protocol("linear-probe").run(*parts, card)
