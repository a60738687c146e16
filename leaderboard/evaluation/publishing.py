"""From the results that the sandbox gave back to rows on the leaderboard, signed, exactly once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from benchmark.catalog import task_card
from benchmark.results import Result as ResultFile
from leaderboard.db import Encoder, EncoderSource, Kind, Result, ResultState, Submission
from leaderboard.evaluation.sandbox import StepError
from leaderboard.evaluation.signing import Origin, Signer, envelope
from leaderboard.evaluation.step import Cell
from leaderboard.results.documents import file_of
from leaderboard.results.publish import free_slug, publish


def checked_result(document: Mapping[str, Any], cell: Cell, submission: Submission) -> ResultFile:
    """What came out of the sandbox, under the submission's name, if it answers what was asked.

    Raises:
        StepError: it is no result, or one of something else.
    """
    try:
        result = ResultFile.model_validate(document)
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(str(part) for part in problem["loc"])
        raise StepError(
            f"it gave no valid result ({field}: {problem['msg']})", final=True
        ) from None
    asked = (cell.task, cell.protocol, cell.modality, cell.seed)
    given = (result.task.name, result.protocol.name, result.encoder.modality, result.seed)
    sha256 = submission.upload.sha256 if submission.upload is not None else None
    other_file = submission.kind == Kind.CHECKPOINT and result.encoder.checkpoint_sha256 != sha256
    if asked != given or other_file:
        raise StepError("it gave the result of something else than was asked", final=True)
    return renamed(result, submission)


def renamed(result: ResultFile, submission: Submission) -> ResultFile:
    """The result under the name and with the facts that the submitter gave."""
    datasets = set(task_card(result.task.name).datasets)
    checkpoint = submission.upload.sha256 if submission.upload is not None else None
    encoder = result.encoder.model_copy(
        update={
            "name": submission.name,
            "title": submission.name,
            "checkpoint_sha256": result.encoder.checkpoint_sha256 or checkpoint,
            "licence": submission.licence,
            "paper": submission.paper,
            "pretraining": submission.pretraining,
            "seen_in_pretraining": bool(datasets & set(submission.pretraining_data)),
        }
    )
    return result.model_copy(update={"encoder": encoder})


def publish_submission(
    session: Session,
    submission: Submission,
    results: Sequence[ResultFile],
    signer: Signer,
    state: ResultState = ResultState.VERIFIED,
) -> list[Result]:
    """Insert the results and update the standings, in the caller's transaction. What is published
    already stays as it is.

    Raises:
        SslBenchError: a result that cannot be compared with those there are.
    """
    encoder = encoder_of(session, submission, results[0])
    origin: Origin = "server" if state == ResultState.VERIFIED else "submitter"
    return publish(
        session,
        results,
        state,
        encoder=encoder,
        submission_id=submission.id,
        sign=signed_by(signer, origin),
    )


def signed_by(signer: Signer, origin: Origin) -> Callable[[ResultFile], tuple[str, str]]:
    """`publish`'s way to sign what it inserts."""

    def sign(file: ResultFile) -> tuple[str, str]:
        return signer.sign(file.model_dump(mode="json"), origin), signer.key

    return sign


def encoder_of(session: Session, submission: Submission, result: ResultFile) -> Encoder:
    """The submission's encoder: its owner's of that name, or a new one."""
    encoder = submission.encoder or session.scalar(
        select(Encoder).where(
            Encoder.owner_id == submission.owner_id,
            Encoder.name == submission.name,
            Encoder.modality == submission.modality,
        )
    )
    info = result.encoder
    if encoder is None:
        encoder = Encoder(
            slug=free_slug(session, submission.name),
            name=submission.name,
            modality=submission.modality,
            source=EncoderSource.SUBMISSION,
            owner_id=submission.owner_id,
        )
        session.add(encoder)
    encoder.title, encoder.kind = submission.name, info.kind
    encoder.parameters, encoder.dimension = info.parameters, info.dimension
    encoder.licence, encoder.paper = submission.licence, submission.paper
    encoder.pretraining = submission.pretraining
    encoder.card = {"weights": info.weights, "digest": info.digest, "input": info.input}
    encoder.card |= {"architecture": submission.architecture, "description": submission.description}
    session.flush()
    submission.encoder_id = encoder.id
    return encoder


def published_cells(session: Session, submission_id: int) -> set[tuple[str, str]]:
    """The cells that a submission has published."""
    rows = session.execute(
        select(Result.task, Result.protocol).where(Result.submission_id == submission_id)
    )
    return {(task, protocol) for task, protocol in rows}


def signed_file(row: Result) -> dict[str, Any] | None:
    """A shown result as a signed file; None where it was never signed."""
    if row.signature is None or row.signing_key is None:
        return None
    origin: Origin = "server" if row.state == ResultState.VERIFIED else "submitter"
    return envelope(file_of(row.payload), row.signature, row.signing_key, origin)
