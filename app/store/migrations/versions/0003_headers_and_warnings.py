"""Headers of tables, and what parsers warn of

Revision: 0003, after 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # In place: SQLite's way of altering by a copy would drop the tables, and by cascade what hangs on them.
    op.add_column("chunks", sa.Column("header", sa.Text(), nullable=False, server_default=sa.text("''")))
    op.add_column("versions", sa.Column("warnings", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("versions", "warnings")
    op.drop_column("chunks", "header")
