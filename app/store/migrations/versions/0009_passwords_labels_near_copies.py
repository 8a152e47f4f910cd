"""Passwords until a file was read, labels of pages, signatures of texts, and deletions to tell of

Revision: 0009, after 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("password", sa.Text(), nullable=True))
    op.add_column("chunks", sa.Column("page_labels", sa.JSON(), nullable=True))
    # Documents that are there already have none: only what comes from now on is compared.
    op.add_column("versions", sa.Column("signature", sa.LargeBinary(), nullable=True))
    op.create_table(
        "bands",
        sa.Column("band", sa.BigInteger(), nullable=False),
        sa.Column("document_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("band", "document_id", "version", name=op.f("pk_bands")),
        sa.ForeignKeyConstraint(
            ["document_id", "version"],
            ["versions.document_id", "versions.version"],
            name=op.f("fk_bands_document_id_version"),
            ondelete="CASCADE",
        ),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_bands_document_id_version"), "bands", ["document_id", "version"])
    op.create_table(
        "deletions",
        sa.Column("collection_id", sa.Text(), nullable=False),
        sa.Column("deleted_at", sa.Double(), nullable=False),
        sa.Column("document_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("collection_id", "deleted_at", "document_id", name=op.f("pk_deletions")),
        sa.ForeignKeyConstraint(
            ["collection_id"], ["collections.id"], name=op.f("fk_deletions_collection_id"), ondelete="CASCADE"
        ),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("deletions")
    op.drop_table("bands")
    op.drop_column("versions", "signature")
    op.drop_column("chunks", "page_labels")
    op.drop_column("jobs", "password")
