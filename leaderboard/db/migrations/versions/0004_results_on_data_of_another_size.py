"""Whether a result's data holds another number of examples than were published."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    for table, kind, none in (
        ("result", sa.Boolean(), sa.false()),
        ("standing", sa.Integer(), "0"),
    ):
        with op.batch_alter_table(table, schema=None) as batch_op:
            batch_op.add_column(sa.Column("other_size", kind, nullable=False, server_default=none))


def downgrade() -> None:
    for table in ("standing", "result"):
        with op.batch_alter_table(table, schema=None) as batch_op:
            batch_op.drop_column("other_size")
