"""Submissions, evaluated by a real worker process on mock tasks."""

import json
from pathlib import Path
from typing import Any

import pytest
from evaluation_lab import local_scores

from leaderboard.db import Encoder, Kind, StepState, SubmissionState, Worker

CELLS = {("mock-pitch", "linear-probe"), ("mock-pitch", "knn")}


@pytest.mark.long
def test_a_checkpoint_is_published_with_the_scores_of_a_local_evaluation(
    served: Any, checkpoint: bytes, tmp_path: Path
) -> None:
    number = served.submit(checkpoint, pretraining_data=["mock-audio"], licence="CC0")
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(checkpoint)
    expected = local_scores("mock-net", weights, tmp_path / "local")
    served.wait_for(number)
    submission = served.submission(number)
    assert submission.state == SubmissionState.DONE, (submission.reason, served.logs())
    assert set(expected) == CELLS
    assert served.scores(number) == expected  # to the last bit
    rows = served.results(number)
    for row in rows.values():
        assert row.state == "verified"
        assert row.seen_in_pretraining
        assert row.checkpoint_sha256 == submission.upload_sha256
    with served.reading() as session:
        encoder = session.get_one(Encoder, submission.encoder_id)
        assert (encoder.name, encoder.licence, encoder.source) == ("Net", "CC0", "submission")
    steps = served.steps(number)
    assert {step.state for step in steps.values()} == {StepState.DONE}
    assert "accuracy" in steps["mock-pitch", "knn"].message
    assert any("mock-pitch / knn" in line for line in served.log_of(number))
    folder = served.settings.home / "evaluation"
    served.wait(lambda: not list(folder.iterdir()), 10)  # nothing of it stays on the worker


@pytest.mark.slow
def test_a_small_vit_of_timm_is_published_with_the_scores_of_a_local_evaluation(
    served: Any, tmp_path: Path
) -> None:
    import timm
    import torch
    from safetensors.torch import save

    torch.manual_seed(3)
    weights = save(timm.create_model("test_vit", num_classes=0).state_dict())
    facts = {"architecture": "timm:test_vit", "modality": "histopathology", "suite": "mock"}
    number = served.submit(weights, name="Small ViT", **facts)
    (tmp_path / "vit.safetensors").write_bytes(weights)
    expected = local_scores(
        "timm:test_vit",
        tmp_path / "vit.safetensors",
        tmp_path / "local",
        suite="mock",
        tasks=["histopathology"],
        modality="histopathology",
    )
    served.wait_for(number)
    submission = served.submission(number)
    assert submission.state == SubmissionState.DONE, (submission.reason, served.logs())
    assert len(expected) > 1
    assert served.scores(number) == expected


@pytest.mark.long
def test_an_onnx_encoder_is_published_with_the_scores_of_a_local_evaluation(
    served: Any, tmp_path: Path
) -> None:
    model = onnx_encoder()
    number = served.submit(model, Kind.ONNX, name="Small graph")
    (tmp_path / "model.onnx").write_bytes(model)
    expected = local_scores(f"onnx:{tmp_path}/model.onnx", None, tmp_path / "local")
    served.wait_for(number)
    submission = served.submission(number)
    assert submission.state == SubmissionState.DONE, (submission.reason, served.logs())
    assert served.scores(number) == expected


def onnx_encoder() -> bytes:
    """Mean and spread of eight strided parts of the waveform."""
    import onnx
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("Abs", ["waveform"], ["size"]),
        helper.make_node("Reshape", ["size", "shape"], ["parts"]),
        helper.make_node("ReduceMean", ["parts", "axis"], ["mean"], keepdims=0),
        helper.make_node("ReduceMax", ["parts", "axis"], ["most"], keepdims=0),
        helper.make_node("Concat", ["mean", "most"], ["embedding"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "encoder",
        [helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["batch", 4000])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", 16])],
        [
            helper.make_tensor("shape", TensorProto.INT64, [3], [0, -1, 8]),
            helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    facts = {
        "modality": "audio",
        "input": json.dumps({"sample_rate": 4000, "seconds": 1, "fixed": True}),
    }
    helper.set_model_props(model, facts)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def test_weights_that_do_not_fit_fail_in_words(served: Any) -> None:
    import torch
    from safetensors.torch import save

    number = served.submit(save({"other": torch.zeros(3)}), name="Misfit")
    served.wait_for(number)
    submission = served.submission(number)
    assert submission.state == SubmissionState.FAILED
    assert "missing: project.bias, project.weight" in submission.reason
    assert "Traceback" not in submission.reason
    assert served.results(number) == {}


@pytest.mark.long
def test_a_step_that_fails_is_tried_again(served: Any, checkpoint: bytes) -> None:
    number = served.submit(checkpoint, name="Stumbling", architecture="mock-stumbling")
    served.wait_for(number)
    assert served.submission(number).state == SubmissionState.DONE, served.logs()
    assert sorted(step.attempts for step in served.steps(number).values()) == [1, 2]
    assert set(served.results(number)) == CELLS


@pytest.mark.long
def test_a_step_that_always_fails_is_reported_in_words(served: Any, checkpoint: bytes) -> None:
    number = served.submit(checkpoint, name="Crashing", architecture="mock-crashing")
    served.wait_for(number)
    submission = served.submission(number)
    assert submission.state == SubmissionState.FAILED
    assert "2 of 2 evaluations failed" in submission.reason
    assert "it crashed" in submission.reason
    steps = served.steps(number).values()
    assert [(step.state, step.attempts) for step in steps] == [(StepState.FAILED, 3)] * 2
    assert served.results(number) == {}


def test_an_unknown_suite_fails_in_words(served: Any, checkpoint: bytes) -> None:
    number = served.submit(checkpoint, name="Lost", suite="mock-on")
    served.wait_for(number)
    assert "Did you mean 'mock-one'?" in served.submission(number).reason


def test_a_stored_file_that_changed_is_not_evaluated(served: Any, checkpoint: bytes) -> None:
    number = served.submit(checkpoint + b" ", name="Damaged", cancel_requested=True)
    stored = Path(served.settings.storage.removeprefix("file://"))
    (stored / served.submission(number).upload_sha256).write_bytes(checkpoint)
    served.change(number, cancel_requested=False, state=SubmissionState.QUEUED)
    served.wait_for(number)
    assert "damaged" in served.submission(number).reason


@pytest.mark.long
def test_cancelled_before_and_during_the_evaluation(served: Any, checkpoint: bytes) -> None:
    waiting = served.submit(checkpoint, name="Waiting", cancel_requested=True)
    served.wait_for(waiting)
    assert served.submission(waiting).state == SubmissionState.CANCELLED
    assert served.steps(waiting) == {}

    running = served.submit(checkpoint, name="Running", architecture="mock-patient")
    served.wait(lambda: any(s.state == StepState.RUNNING for s in served.steps(running).values()))
    served.change(running, cancel_requested=True)
    served.wait_for(running, seconds=20)
    assert served.submission(running).state == SubmissionState.CANCELLED
    assert {step.state for step in served.steps(running).values()} == {StepState.CANCELLED}
    assert served.results(running) == {}


def test_the_worker_shows_its_heartbeat(served: Any) -> None:
    with served.reading() as session:
        worker = session.query(Worker).one()
        first = worker.heartbeat
    assert (worker.process, worker.device) == (served.processes[0].pid, "cpu")

    def beaten() -> bool:
        with served.reading() as session:
            return bool(session.get_one(Worker, worker.id).heartbeat > first)

    served.wait(beaten, 15)
