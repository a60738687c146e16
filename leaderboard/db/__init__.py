"""The database: models by area, engine and sessions, migrations.

Importing this package loads every model, so that relationships between areas resolve.
"""

from leaderboard.db.accounts import AuditEvent, Invitation, Role, Token, User, WebSession
from leaderboard.db.base import Base, now, public_id
from leaderboard.db.encoders import Encoder, EncoderSource
from leaderboard.db.results import (
    SHOWN,
    Board,
    Result,
    ResultPayload,
    ResultState,
    SiteState,
    Standing,
)
from leaderboard.db.submissions import (
    Kind,
    StepState,
    Submission,
    SubmissionLog,
    SubmissionState,
    SubmissionStep,
    Upload,
    UploadState,
    Worker,
)

__all__ = [
    "SHOWN",
    "AuditEvent",
    "Base",
    "Board",
    "Encoder",
    "EncoderSource",
    "Invitation",
    "Kind",
    "Result",
    "ResultPayload",
    "ResultState",
    "Role",
    "SiteState",
    "Standing",
    "StepState",
    "Submission",
    "SubmissionLog",
    "SubmissionState",
    "SubmissionStep",
    "Token",
    "Upload",
    "UploadState",
    "User",
    "WebSession",
    "Worker",
    "now",
    "public_id",
]
