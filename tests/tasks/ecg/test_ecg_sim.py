from dataclasses import replace

import numpy as np
import pytest

from benchmark.catalog import load_task, task_card
from benchmark.prepare import read_row
from tasks.ecg import ecg_sim, patient
from tasks.ecg.ecg_sim import FINDINGS, EcgSim, EcgSimWaves, record
from tasks.ecg.patient import RHYTHMS

NAMES = ("ecg-sim-rhythm", "ecg-sim-findings", "ecg-sim-waves")


class FewEcgs(EcgSim):
    source = "ecg-sim-few"
    patients = 40


class FewWaves(EcgSimWaves):
    source = "ecg-sim-waves-few"
    patients = 15


def _all(task):
    return {split: list(task.examples(split)) for split in task.splits}


@pytest.fixture(scope="module")
def ecgs():
    return _all(FewEcgs(task_card("ecg-sim-rhythm")))


@pytest.fixture(scope="module")
def waves():
    return _all(FewWaves(task_card("ecg-sim-waves")))


def _rows(splits):
    return [row for rows in splits.values() for row in rows]


@pytest.mark.parametrize("name", NAMES)
def test_cards_say_simulated_and_load_their_class(name):
    card = task_card(name)
    assert card.simulated
    assert "simulated" in card.title.lower()
    assert "starter" in card.suites
    assert load_task(name).source in ("ecg-sim", "ecg-sim-waves")
    assert all(path.is_file() for path in load_task(name).files())


def test_cards_list_the_classes_in_the_order_of_the_labels():
    assert task_card("ecg-sim-rhythm").target.classes == RHYTHMS
    assert task_card("ecg-sim-findings").target.classes == FINDINGS
    assert task_card("ecg-sim-waves").target.classes == ("p", "qrs", "t")


def test_no_patient_and_no_signal_in_two_splits(ecgs, waves):
    for made in (ecgs, waves):
        groups = [{row["group"] for row in rows} for rows in made.values()]
        assert sum(map(len, groups)) == len(set.union(*groups))
        ids = [row["id"] for row in _rows(made)]
        assert len(ids) == len(set(ids))
        signals = {row["input"]["signal"].tobytes() for row in _rows(made)}
        assert len(signals) == len(ids)
    assert {row["group"] for row in ecgs["train"]} == {f"patient-{i:04d}" for i in range(24)}


def test_records_are_the_same_every_time(ecgs):
    again = next(iter(FewEcgs(task_card("ecg-sim-rhythm")).examples("test")))
    np.testing.assert_array_equal(again["input"]["signal"], ecgs["test"][0]["input"]["signal"])


def test_prepared_rows_read_back(tmp_path, monkeypatch, ecgs):
    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path))
    row = read_row(FewEcgs(task_card("ecg-sim-findings")).load()["test"], 0)
    np.testing.assert_array_equal(row["input"]["signal"], ecgs["test"][0]["input"]["signal"])
    np.testing.assert_array_equal(row["target"], ecgs["test"][0]["findings"])
    assert row["input"]["leads"][1] == "II"


def test_signals_look_like_ecgs(ecgs):
    for row in _rows(ecgs):
        signal = row["input"]["signal"].astype(np.float32)
        assert signal.shape == (12, 5000)
        assert np.isfinite(signal).all()
        assert 0.3 < np.ptp(signal, axis=1).max() < 15
        np.testing.assert_allclose(signal[0] + signal[2], signal[1], atol=0.01)


def test_every_class_occurs_and_labels_agree(ecgs):
    rhythms = np.array([row["rhythm"] for row in _rows(ecgs)])
    findings = np.array([row["findings"] for row in _rows(ecgs)])
    assert set(rhythms) == set(range(len(RHYTHMS)))
    assert ((findings.mean(0) > 0.05) & (findings.mean(0) < 0.6)).all()
    assert (findings.sum(1) == 0).any()
    assert (findings.sum(1) > 1).any()
    column = {name: findings[:, i] for i, name in enumerate(FINDINGS)}
    named = np.array(RHYTHMS)[rhythms]
    np.testing.assert_array_equal(column["afib"], named == "afib")
    assert column["pvc"][named == "pvc"].all()
    assert column["bradycardia"][named == "bradycardia"].all()
    assert column["tachycardia"][named == "tachycardia"].all()
    assert not (column["bradycardia"] | column["tachycardia"])[named == "sinus"].any()
    assert not (column["st-elevation"] & column["st-depression"]).any()


def test_rate_labels_agree_with_neurokit2():
    nk = pytest.importorskip("neurokit2")
    person = patient.draw_patient(np.random.default_rng([1, 1]))
    agree, seen = [], set()
    for seed in range(15):
        name = ("sinus", "bradycardia", "tachycardia")[seed % 3]
        made = record(replace(person, rhythm=name), np.random.default_rng(seed), 10.0)
        if RHYTHMS[made["rhythm"]] not in ("sinus", "bradycardia", "tachycardia"):
            continue  # now and then a patient has another rhythm than usual
        lead = made["signal"][10].astype(float)  # V5
        peaks = nk.ecg_peaks(nk.ecg_clean(lead, 500), 500)[1]["ECG_R_Peaks"]
        rate = 60 * 500 / np.mean(np.diff(peaks))
        found = "bradycardia" if rate < 60 else "tachycardia" if rate > 100 else "sinus"
        agree.append(RHYTHMS[made["rhythm"]] == found)
        seen.add(found)
    assert len(agree) >= 6
    assert len(seen) == 3
    assert np.mean(agree) > 0.8  # rates next to a limit may be measured on its other side


def _clean(person, monkeypatch, shift=0.0):
    """Noise-free sinus record with an ST shift and its beats."""
    monkeypatch.setattr(ecg_sim.noise, "lead_noise", lambda rng, levels, n, rate: np.zeros((12, n)))
    person = replace(person, shift=shift, rhythm="sinus")
    for seed in range(50):
        made = record(person, np.random.default_rng(seed), 10.0, waves=True)
        if RHYTHMS[made["rhythm"]] == "sinus" and not made["findings"][1]:
            return made
    raise AssertionError("no sinus record")


def test_st_elevation_lifts_the_st_segment(monkeypatch):
    people = (patient.draw_patient(np.random.default_rng([9, i])) for i in range(100))
    person = next(p for p in people if p.qrs < 0.1 and p.shift > 0)
    signals = {}
    for shift in (0.0, 0.3):
        made = _clean(person, monkeypatch, shift)
        signals[shift] = made["signal"].astype(float)
        assert made["findings"][FINDINGS.index("st-elevation")] == (shift > 0)
        spans = made["waves"]
    qrs = spans[spans[:, 2] == 1][2]
    st = int((qrs[1] + 0.05) * 500)
    lift = (signals[0.3] - signals[0.0])[:, st].max()
    assert 0.1 < lift < 0.6


def test_wide_qrs_is_wide_in_the_signal(monkeypatch):
    people = [patient.draw_patient(np.random.default_rng([8, i])) for i in range(60)]
    widths = {True: [], False: []}
    for person in (min(people, key=lambda p: p.qrs), max(people, key=lambda p: p.qrs)):
        made = _clean(person, monkeypatch)
        label = bool(made["findings"][FINDINGS.index("wide-qrs")])
        slope = np.abs(np.diff(made["signal"].astype(float), axis=1)).sum(0)
        spans = made["waves"]
        share = (slope > 0.1 * slope.max()).sum() / max((spans[:, 2] == 1).sum(), 1)
        widths[label].append(share / 500)
    assert widths[True][0] > 1.3 * widths[False][0]


def test_waves_are_ordered_events_inside_the_record(waves):
    for row in _rows(waves):
        events = row["waves"]
        assert events.dtype == np.float64
        assert events.shape[1] == 3
        assert (events[:, 0] >= 0).all()
        assert (events[:, 1] <= 4).all()
        assert (events[:, 1] > events[:, 0]).all()
        assert set(events[:, 2]) <= {0.0, 1.0, 2.0}
        assert (np.diff(events[:, 0]) >= 0).all()
        rate = (events[:, 2] == 1).sum() / 4 * 60
        assert 30 <= rate <= 220


def test_qrs_events_hold_the_steepest_part_of_the_signal(waves):
    shares = []
    for row in _rows(waves):
        signal = row["input"]["signal"].astype(np.float32)
        smooth = np.apply_along_axis(np.convolve, 1, signal, np.ones(9) / 9, "same")
        slope = np.square(np.diff(smooth, axis=1)).sum(0)
        inside = np.zeros(len(slope), bool)
        for on, off, kind in row["waves"]:
            if kind == 1:
                inside[int(on * 500) : int(off * 500)] = True
        shares.append(slope[inside].sum() / slope.sum())
    assert np.median(shares) > 0.7


def test_fibrillation_has_no_p_waves():
    person = patient.draw_patient(np.random.default_rng([2, 2]))
    for seed in range(20):
        made = record(replace(person, rhythm="afib"), np.random.default_rng(seed), 4.0, waves=True)
        kinds = made["waves"][:, 2]
        atrial = RHYTHMS[made["rhythm"]] in ("afib", "flutter")
        assert (0 in kinds) != atrial
