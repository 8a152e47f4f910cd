"""Files that live apart from collections, and collections as vector stores

Revision: 0008, after 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "files",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_files")),
    )
    op.create_index(op.f("ix_files_sha256"), "files", ["sha256"])
    op.create_index(op.f("ix_files_created_at_id"), "files", ["created_at", "id"])
    op.create_table(
        "vector_stores",
        sa.Column("collection_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["collection_id"], ["collections.id"], name=op.f("fk_vector_stores_collection_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("collection_id", name=op.f("pk_vector_stores")),
    )
    op.create_table(
        "file_batches",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("collection_id", sa.Text(), nullable=False),
        sa.Column("is_cancelled", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["collection_id"], ["collections.id"], name=op.f("fk_file_batches_collection_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_file_batches")),
    )
    op.create_index(op.f("ix_file_batches_collection_id"), "file_batches", ["collection_id"])
    op.create_table(
        "attachments",
        sa.Column("collection_id", sa.Text(), nullable=False),
        sa.Column("file_id", sa.Text(), nullable=False),
        sa.Column("document_id", sa.Text(), nullable=True),
        sa.Column("batch_id", sa.Text(), nullable=True),
        sa.Column("chunk_tokens", sa.Integer(), nullable=True),
        sa.Column("chunk_overlap_tokens", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["collection_id"], ["collections.id"], name=op.f("fk_attachments_collection_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["file_id"], ["files.id"], name=op.f("fk_attachments_file_id")),
        sa.ForeignKeyConstraint(
            ["document_id"], ["documents.id"], name=op.f("fk_attachments_document_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["file_batches.id"], name=op.f("fk_attachments_batch_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("collection_id", "file_id", name=op.f("pk_attachments")),
        sa.UniqueConstraint("document_id", name=op.f("uq_attachments_document_id")),
    )
    op.create_index(op.f("ix_attachments_file_id"), "attachments", ["file_id"])
    op.create_index(op.f("ix_attachments_batch_id"), "attachments", ["batch_id"])


def downgrade() -> None:
    """Documents stay, and forget which files they were; files in no collection are removed by the next sweep."""
    for table in ("attachments", "file_batches", "vector_stores", "files"):
        op.drop_table(table)
