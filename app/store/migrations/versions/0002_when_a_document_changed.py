"""When what can be found of a document changed last, so that servers follow the changes one by one

Revision: 0002, after 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # In place: SQLite's way of altering by a copy would drop the table, and its versions by cascade.
    op.add_column("documents", sa.Column("sequence", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_index(op.f("ix_documents_collection_id_sequence"), "documents", ["collection_id", "sequence"])


def downgrade() -> None:
    op.drop_index(op.f("ix_documents_collection_id_sequence"), "documents")
    op.drop_column("documents", "sequence")
