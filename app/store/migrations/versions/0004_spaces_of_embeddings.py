"""Several embedding models for one collection

Revision: 0004, after 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "spaces",
        sa.Column("collection_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("dimension", sa.Integer(), nullable=False),
        sa.Column("is_chosen", sa.Boolean(), nullable=False),
        sa.Column("retired_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["collection_id"], ["collections.id"], name=op.f("fk_spaces_collection_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("collection_id", "number", name=op.f("pk_spaces")),
    )
    op.create_table(
        "embeddings",
        sa.Column("collection_id", sa.Text(), nullable=False),
        sa.Column("chunk_id", sa.BigInteger(), nullable=False),
        sa.Column("space", sa.Integer(), nullable=False),
        sa.Column("embedding", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["collection_id", "chunk_id"],
            ["chunks.collection_id", "chunks.id"],
            name=op.f("fk_embeddings_collection_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("collection_id", "chunk_id", "space", name=op.f("pk_embeddings")),
    )
    # In place: SQLite's way of altering by a copy would drop the tables, and by cascade what hangs on them.
    op.add_column("chunks", sa.Column("space", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("collections", sa.Column("space", sa.Integer(), nullable=True))
    op.add_column("collections", sa.Column("next_space", sa.Integer(), nullable=True))
    op.execute(
        "INSERT INTO spaces (collection_id, number, model, dimension, is_chosen) "
        "SELECT id, 1, embedding_model, embedding_dimension, FALSE FROM collections WHERE embedding_model IS NOT NULL"
    )
    op.execute("UPDATE collections SET space = 1 WHERE embedding_model IS NOT NULL")
    op.drop_column("collections", "embedding_model")
    op.drop_column("collections", "embedding_dimension")


def downgrade() -> None:
    """Only the vectors of each chunk's own space are kept: a collection that was reindexed must be embedded anew."""
    op.add_column("collections", sa.Column("embedding_model", sa.Text(), nullable=True))
    op.add_column("collections", sa.Column("embedding_dimension", sa.Integer(), nullable=True))
    op.execute(
        "UPDATE collections SET (embedding_model, embedding_dimension) = "
        "(SELECT model, dimension FROM spaces WHERE collection_id = collections.id AND number = 1)"
    )
    op.drop_column("collections", "next_space")
    op.drop_column("collections", "space")
    op.drop_column("chunks", "space")
    op.drop_table("embeddings")
    op.drop_table("spaces")
