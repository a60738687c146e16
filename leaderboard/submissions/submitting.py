"""From a complete upload to a row in the queue."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from benchmark.catalog import encoder_cards, task_cards
from benchmark.errors import SslBenchError
from leaderboard.accounts.audit import record
from leaderboard.accounts.caller import Caller
from leaderboard.accounts.rates import Rates
from leaderboard.api.problems import Problem
from leaderboard.db import (
    SHOWN,
    Encoder,
    Kind,
    Result,
    Submission,
    SubmissionState,
    Upload,
    UploadState,
    User,
    now,
)
from leaderboard.settings import Settings
from leaderboard.submissions.requests import SubmissionRequest
from leaderboard.submissions.screening import Screening
from leaderboard.submissions.storage import Storage
from leaderboard.submissions.uploads import find_upload
from leaderboard.validation.refusal import Refusal

ALIVE = (
    SubmissionState.QUEUED,
    SubmissionState.VALIDATING,
    SubmissionState.RUNNING,
    SubmissionState.DONE,
)
COMPARED = (
    "name", "architecture", "modality", "input_options", "suite", "description", "licence",
    "paper", "pretraining", "pretraining_data", "gpu",
)  # fmt: skip


class Submitting:
    """Takes submissions; `screening` looks into their files first."""

    def __init__(
        self,
        reading: sessionmaker[Session],
        writing: sessionmaker[Session],
        settings: Settings,
        storage: Storage,
        screening: Screening,
        rates: Rates,
    ) -> None:
        self.reading, self.writing = reading, writing
        self.settings, self.storage = settings, storage
        self.screening, self.rates = screening, rates

    def submit(
        self, caller: Caller, asked: SubmissionRequest, key: str | None = None
    ) -> tuple[Submission, bool]:
        """The submission, and whether it is new: `key` makes a repeated request find the first.

        Raises:
            Problem: refused, with the reason: 404, 409, 422, 429.
        """
        with self.reading() as session:
            known = self._replayed(session, caller, asked, key)
            if known is not None:
                return known, False
            upload = find_upload(session, caller, asked.upload)
            try:
                self._check(session, caller, asked, upload)
            except Problem:  # another try of this request may have come through in between
                known = self._replayed(session, caller, asked, key)
                if known is None:
                    raise
                return known, False
            fingerprints = known_data(session) if upload.kind == Kind.RESULTS else None
        self.rates.count_check(f"user {caller.user.id}")
        facts = self._screened(asked, upload, fingerprints)
        with self.writing.begin() as session:
            session.scalars(
                select(User.id).where(User.id == caller.user.id).with_for_update()
            ).one()
            known = self._replayed(session, caller, asked, key)
            if known is not None:
                return known, False
            upload = find_upload(session, caller, asked.upload)
            self._check(session, caller, asked, upload)
            upload.facts = {**facts, "architecture": asked.architecture}
            submission = _row(caller, asked, upload, facts, key)
            session.add(submission)
            session.flush()
            record(
                session,
                caller.user,
                "submission.created",
                "submission",
                submission.public_id,
                caller.origin,
                name=submission.name,
                sha256=upload.sha256,
            )
            if submission.kind == Kind.RESULTS:
                self._publish(session, submission, upload)
        return submission, True

    def _replayed(
        self, session: Session, caller: Caller, asked: SubmissionRequest, key: str | None
    ) -> Submission | None:
        if key is None:
            return None
        found = session.scalar(
            select(Submission).where(
                Submission.owner_id == caller.user.id, Submission.idempotency_key == key
            )
        )
        if found is None:
            return None
        same = found.upload is not None and found.upload.public_id == asked.upload
        if not same or found.name != asked.name or found.architecture != asked.architecture:
            raise Problem(422, "this Idempotency-Key belongs to another submission: take a new one")
        return found

    def _check(
        self, session: Session, caller: Caller, asked: SubmissionRequest, upload: Upload
    ) -> None:
        if upload.state != UploadState.COMPLETE:
            raise Problem(409, f"the upload is {upload.state}: send the rest of the file first")
        if upload.kind == Kind.CHECKPOINT and not asked.architecture:
            raise Problem(422, "architecture: a checkpoint needs one; `ssl-bench list models`")
        if upload.kind == Kind.RESULTS and asked.architecture:
            raise Problem(422, "architecture: results have none; leave it out")
        check_name(session, caller.user, asked.name)
        check_suite(asked.suite)
        self._check_quota(session, caller)
        self._check_twice(session, caller, asked, upload)

    def _check_quota(self, session: Session, caller: Caller) -> None:
        most = caller.user.quota
        most = self.settings.submissions_per_day if most is None else most
        recent = select(func.count(Submission.id), func.min(Submission.created)).where(
            Submission.owner_id == caller.user.id,
            Submission.verifies_id.is_(None),
            Submission.created > now() - timedelta(days=1),
        )
        count, first = session.execute(recent).one()
        if count >= most:
            wait = 86_400 if first is None else (first + timedelta(days=1) - now()).total_seconds()
            raise Problem(
                429,
                f"{count} submissions in the last 24 hours, and {most} are allowed: try later",
                headers={"Retry-After": str(max(60, round(wait)))},
            )

    def _check_twice(
        self, session: Session, caller: Caller, asked: SubmissionRequest, upload: Upload
    ) -> None:
        known = session.scalar(
            select(Submission)
            .join(Upload, Submission.upload_id == Upload.id)
            .where(
                Submission.owner_id == caller.user.id,
                Submission.state.in_(ALIVE),
                Submission.architecture == asked.architecture,
                Submission.suite == asked.suite,
                Upload.sha256 == upload.sha256,
                Submission.verifies_id.is_(None),
            )
            .limit(1)
        )
        same_options = known is not None and known.input_options == (asked.input_options or {})
        if known is not None and same_options and asked.modality in (None, known.modality):
            raise Problem(
                409,
                f"you have submitted this file already, as {known.name!r}: rename or withdraw that "
                "submission instead",
                existing=known.public_id,
            )

    def _screened(
        self, asked: SubmissionRequest, upload: Upload, fingerprints: dict[str, str] | None
    ) -> dict[str, Any]:
        more: dict[str, Any] = {
            "architecture": asked.architecture,
            "modality": asked.modality,
            "options": asked.input_options,
            "fingerprints": fingerprints,
        }
        try:
            with self.storage.on_disk(upload.storage_key or "") as path:
                return self.screening.check(path, str(upload.kind), upload.file_name, **more)
        except FileNotFoundError:
            raise Problem(409, "the file is gone from the store: upload it again") from None
        except Refusal as refusal:
            raise Problem(
                422, str(refusal), type="/about#refused", field=refusal.field, remedy=refusal.remedy
            ) from None

    def _publish(self, session: Session, submission: Submission, upload: Upload) -> None:
        """Self-reported results need no evaluation: they are shown at once, as such."""
        from leaderboard.db import ResultState
        from leaderboard.evaluation.publishing import publish_submission, renamed
        from leaderboard.evaluation.signing import Signer
        from leaderboard.validation.results_file import check_results

        results = check_results(self.storage.read(upload.storage_key or ""), upload.file_name)
        try:
            publish_submission(
                session,
                submission,
                [renamed(result, submission) for result in results],
                Signer.load(self.settings.signing_key_file),
                ResultState.SELF_REPORTED,
            )
        except SslBenchError as error:
            raise Problem(422, str(error)) from None
        submission.state = SubmissionState.DONE
        submission.started = submission.finished = now()


def _row(
    caller: Caller, asked: SubmissionRequest, upload: Upload, facts: dict[str, Any], key: str | None
) -> Submission:
    fields = {name: getattr(asked, name) for name in COMPARED}
    fields |= {"modality": facts["modality"], "input_options": asked.input_options or {}}
    return Submission(
        owner_id=caller.user.id,
        upload_id=upload.id,
        kind=upload.kind,
        idempotency_key=key,
        **fields,
    )


def check_name(session: Session, owner: User, name: str) -> None:
    """Nobody takes the name of an encoder of the catalog, or of somebody else's.

    Raises:
        Problem: 409.
    """
    folded = name.casefold()
    if folded in {known.casefold() for known in encoder_cards()}:
        raise Problem(409, f"name: {name!r} is an encoder of the catalog; choose another one")
    lowered = name.lower()
    others = select(Encoder.id).where(
        func.lower(Encoder.name) == lowered,
        (Encoder.owner_id != owner.id) | Encoder.owner_id.is_(None),
    )
    waiting = select(Submission.id).where(
        func.lower(Submission.name) == lowered,
        Submission.owner_id != owner.id,
        Submission.state.in_(ALIVE),
    )
    for query in (others, waiting):
        if session.scalar(query.limit(1)) is not None:
            raise Problem(409, f"name: {name!r} is taken; choose another one")


def check_suite(suite: str) -> None:
    """Raises: Problem (422): there is no such suite."""
    known = sorted({name for card in task_cards() for name in card.suites} | {"all"})
    if suite not in known:
        raise Problem(422, f"suite: there is none of this name; known: {', '.join(known)}")


def known_data(session: Session) -> dict[str, str]:
    """Task -> hash of its test data, of the results that are shown."""
    rows = session.execute(
        select(Result.task, func.max(Result.fingerprint))
        .where(Result.state.in_(SHOWN))
        .group_by(Result.task)
    )
    return dict(rows.tuples().all())
