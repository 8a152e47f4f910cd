"""Responses that can be read again and continued

Revision: 0010, after 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "responses",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("answer_id", sa.Text(), nullable=False),
        sa.Column("previous_id", sa.Text(), nullable=True),
        sa.Column("input", sa.JSON(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_responses")),
        sa.ForeignKeyConstraint(["answer_id"], ["answers.id"], name=op.f("fk_responses_answer_id"), ondelete="CASCADE"),
        sa.UniqueConstraint("answer_id", name=op.f("uq_responses_answer_id")),
    )


def downgrade() -> None:
    op.drop_table("responses")
