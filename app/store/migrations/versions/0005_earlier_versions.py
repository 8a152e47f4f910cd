"""Earlier versions are kept, and embeddings of what did not change

Revision: 0005, after 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("versions", sa.Column("is_retired", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("versions", sa.Column("kept_embeddings", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    op.execute("DELETE FROM versions WHERE is_retired")
    op.drop_column("versions", "kept_embeddings")
    op.drop_column("versions", "is_retired")
