"""Boards keep their cells and replicates."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "board",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("suite", sa.String(length=60), nullable=False),
        sa.Column("protocol", sa.String(length=40), nullable=False),
        sa.Column("domain", sa.String(length=32), nullable=False),
        sa.Column("cells", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_board")),
        sa.UniqueConstraint(
            "suite", "protocol", "domain", name=op.f("uq_board_suite_protocol_domain")
        ),
    )
    with op.batch_alter_table("standing", schema=None) as batch_op:
        batch_op.add_column(sa.Column("replicates", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("standing", schema=None) as batch_op:
        batch_op.drop_column("replicates")

    op.drop_table("board")
