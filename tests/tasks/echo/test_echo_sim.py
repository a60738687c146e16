"""The simulated clips and frames: labels, motion, splits, and what a single frame reveals."""

import numpy as np
import pytest
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmark.catalog import task_card, task_cards
from tasks.echo import echo_sim
from tasks.echo.anatomy import VIEWS, draw_pose, scenes
from tasks.echo.echo_sim import EchoSimClips, EchoSimFrames, clip, patient, second_view
from tasks.echo.heart import systole_curve
from tasks.echo.ultrasound import Imager, Sector, draw_settings, scatterers

SAMPLE = 110  # patients


@pytest.fixture(scope="module")
def clips():
    return [clip(number, "A4C") for number in range(SAMPLE)]


@pytest.fixture(scope="module")
def fractions(clips):
    return np.array([who.ejection_fraction() for *_, who in clips])


def few(monkeypatch, table):
    parts = {"train": range(4), "validation": range(4, 6), "test": range(6, 8)}
    monkeypatch.setattr(echo_sim, table, parts)
    return parts


def explained(features, values):
    model = make_pipeline(StandardScaler(), RidgeCV(10.0 ** np.arange(0, 6)))
    return r2_score(values, cross_val_predict(model, features, values, cv=10))


def grid(frames):
    """(..., 64, 64) -> (..., 64): mean brightness of 8 x 8 cells."""
    shape = frames.shape[:-2]
    return frames.reshape(*shape, 8, 8, 8, 8).mean((-3, -1)).reshape(*shape, 64)


@pytest.mark.long
def test_a_single_frame_does_not_reveal_ejection_fraction_but_motion_does(clips, fractions):
    cells = grid(np.stack([video for video, *_ in clips]).astype(np.float32))
    for frame in (0, 10, 19):
        assert explained(cells[:, frame], fractions) < 0.1
    assert explained(cells.std(1), fractions) > 0.2


def test_even_the_true_cavity_of_a_single_frame_does_not_but_its_change_does(clips, fractions):
    areas = np.stack([masks.sum((1, 2)) for _, masks, *_ in clips]).astype(float)
    assert np.corrcoef(areas[:, 0], fractions)[0, 1] ** 2 < 0.1
    change = 1 - areas.min(1) / areas.max(1)
    assert 0.7 < np.corrcoef(change, fractions)[0, 1] ** 2 < 0.99


def test_cavity_is_darker_than_its_wall(clips):
    import cv2

    contrast = []
    for video, masks, *_ in clips[:40]:
        wide = cv2.dilate(masks[0], np.ones((5, 5), np.uint8)).astype(bool)
        rim = wide & (masks[0] == 0) & (video[0] > 0)
        contrast.append(video[0][rim].mean() - video[0][masks[0] > 0].mean())
    assert np.mean(np.array(contrast) > 10) > 0.9


def test_clips_are_uint8_with_jittered_rates_and_a_dark_surround(clips):
    video, masks, _, _ = clips[0]
    assert video.shape == masks.shape == (echo_sim.FRAMES, 64, 64)
    assert video.dtype == np.uint8
    assert (video[:, :10, :10] == 0).all()  # outside the sector
    rates = [rate for *_, rate, _ in clips]
    assert min(rates) >= 14
    assert max(rates) <= 24
    assert np.std(rates) > 1


def test_same_clip_every_time_and_another_for_every_patient(clips):
    assert (clip(5, "A4C")[0] == clips[5][0]).all()
    assert len({video.tobytes() for video, *_ in clips}) == SAMPLE


def test_speckle_moves_with_the_tissue():
    """A rigid shift of the heart shifts the picture by the same distance."""
    who = patient(1, 0)
    rng = np.random.default_rng(0)
    sector = Sector(64, 0.66, 160.0)
    pose = draw_pose("A4C", who, np.zeros(2), rng)
    pose.z[1] = pose.z[0] + 2 * 160 / 64  # two pixels down
    pose.x[1], pose.tilt[1] = pose.x[0], pose.tilt[0]
    settings = draw_settings(rng)
    still = type(settings)(**{**vars(settings), "noise": 0.0, "haze": 0.0, "shadows": (),
                              "attenuation": 0.0})  # fmt: skip
    (scene,) = scenes("A4C", who, pose, np.zeros(2, np.float32), sector.positions())
    video = Imager(sector, still, rng).b_mode(scene.echogenicity, scene.material).astype(float)
    box = np.s_[24:50, 20:44]
    match = {
        shift: np.corrcoef(np.roll(video[0], shift, 0)[box].ravel(), video[1][box].ravel())[0, 1]
        for shift in range(-1, 6)
    }
    assert max(match, key=match.get) == 2
    assert match[2] > 0.7


def test_scatterers_are_fully_developed_and_periodic():
    field = scatterers()
    assert np.square(field).sum(-1).mean() == pytest.approx(1, rel=1e-4)
    seam = np.abs(field[0] - field[-1]).mean()
    inside = np.abs(np.diff(field, axis=0)).mean()
    assert seam < 1.3 * inside


def test_shadows_and_attenuation_darken_the_picture():
    who, sector = patient(1, 1), Sector(64, 0.66, 160.0)
    settings = draw_settings(np.random.default_rng(2))
    pictures = []
    for change in ({"shadows": ()}, {"shadows": ((0.0, 0.2, 0.1, 25.0),)}):
        rng = np.random.default_rng(1)
        pose = draw_pose("A4C", who, np.zeros(1), rng)
        (scene,) = scenes("A4C", who, pose, np.zeros(1, np.float32), sector.positions())
        made = Imager(sector, type(settings)(**{**vars(settings), **change}), rng)
        pictures.append(made.b_mode(scene.echogenicity, scene.material)[0].astype(float))
    clear, shadowed = pictures
    assert (clear - shadowed)[30:60, 28:36].mean() > 15
    assert np.abs(clear - shadowed)[40:50, 4:10].mean() < 2


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_shows_a_cavity_that_shrinks_in_systole(view):
    who = patient(1, 2)
    rng = np.random.default_rng(3)
    pose = draw_pose(view, who, np.zeros(2), rng)
    polar = Sector(64, 0.7, 170.0).positions()
    (scene,) = scenes(view, who, pose, np.array([0.0, 1.0], np.float32), polar)
    diastole, systole = scene.cavity.sum((1, 2))
    assert 0 < systole < 0.9 * diastole
    assert np.isfinite(scene.echogenicity).all()
    assert all(np.isfinite(m).all() for m in scene.material)


def test_clip_rows(monkeypatch):
    parts = few(monkeypatch, "PATIENTS")
    task = EchoSimClips(task_card("echo-sim-ef"))
    rows = {split: list(task.examples(split)) for split in parts}
    groups = [{row["group"] for row in part} for part in rows.values()]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 8
    everything = [row for part in rows.values() for row in part]
    assert len({row["id"] for row in everything}) == len(everything) == 16
    assert len({row["input"]["video"].tobytes() for row in everything}) == 16
    for row in everything:
        apical = row["id"].endswith("A4C")
        assert (row["ef"] is not None) == (row["low_ef"] is not None) == apical
        if apical:
            number = int(row["group"][1:])
            assert row["ef"] == patient(1, number).ejection_fraction()
            assert row["low_ef"] == int(row["ef"] < 50)
    views = [row["view"] for row in everything if row["view"] is not None]
    assert np.bincount(views, minlength=5).tolist() == [2, 2, 2, 2, 2]


def test_frame_rows(monkeypatch):
    few(monkeypatch, "FRAME_PATIENTS")
    rows = list(EchoSimFrames(task_card("echo-sim-lv")).examples("train"))
    assert len(rows) == 8
    for diastole, systole in zip(rows[::2], rows[1::2], strict=True):
        assert diastole["group"] == systole["group"]
        assert diastole["input"]["video"].shape == (1, 96, 96)
        assert diastole["lv"].shape == (96, 96)
        assert set(np.unique(diastole["lv"])) == {0, 1}
        assert systole["lv"].sum() < diastole["lv"].sum()


@pytest.mark.parametrize("table", ["PATIENTS", "FRAME_PATIENTS"])
def test_no_patient_is_in_two_splits(table):
    parts = [set(numbers) for numbers in getattr(echo_sim, table).values()]
    assert sum(map(len, parts)) == len(set.union(*parts))


def test_second_views_take_turns():
    assert {second_view(number) for number in range(4)} == set(VIEWS) - {"A4C"}


def test_start_of_a_clip_is_anywhere_in_the_cycle(clips):
    starts = [
        systole_curve(who, np.zeros(1), np.random.default_rng(i))[0]
        for i, (*_, who) in enumerate(clips)
    ]
    assert np.std(starts) > 0.2


def test_cards_agree_with_the_code():
    cards = {card.name: card for card in task_cards() if card.name.startswith("echo-sim-")}
    assert set(cards) == {"echo-sim-ef", "echo-sim-low-ef", "echo-sim-view", "echo-sim-lv"}
    assert cards["echo-sim-view"].target.classes == VIEWS
    assert cards["echo-sim-view"].chance == 1 / len(VIEWS)
    assert cards["echo-sim-low-ef"].target.classes == ("preserved", "reduced")
    for card in cards.values():
        assert card.simulated
        assert "simulated" in card.title.lower()
        assert card.suites == ("starter",)
        sizes = [len(numbers) for numbers in (
            echo_sim.FRAME_PATIENTS if card.name.endswith("lv") else echo_sim.PATIENTS
        ).values()]  # fmt: skip
        assert "{} train, {} validation, {} test".format(*sizes) in card.split
