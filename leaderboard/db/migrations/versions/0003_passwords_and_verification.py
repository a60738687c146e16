"""Passwords of people; which submission another one re-runs."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    with op.batch_alter_table("user", schema=None) as batch_op:
        batch_op.add_column(sa.Column("password_hash", sa.String(length=200), nullable=True))
    with op.batch_alter_table("submission", schema=None) as batch_op:
        batch_op.add_column(sa.Column("verifies_id", sa.Integer(), nullable=True))
        batch_op.create_index(
            batch_op.f("ix_submission_verifies_id"), ["verifies_id"], unique=False
        )
        batch_op.create_foreign_key(
            batch_op.f("fk_submission_verifies_id_submission"),
            "submission",
            ["verifies_id"],
            ["id"],
        )


def downgrade() -> None:
    with op.batch_alter_table("submission", schema=None) as batch_op:
        batch_op.drop_constraint(
            batch_op.f("fk_submission_verifies_id_submission"), type_="foreignkey"
        )
        batch_op.drop_index(batch_op.f("ix_submission_verifies_id"))
        batch_op.drop_column("verifies_id")
    with op.batch_alter_table("user", schema=None) as batch_op:
        batch_op.drop_column("password_hash")
