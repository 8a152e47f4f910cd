"""What a file calls the page of a quotation

Revision: 0011, after 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("citations", sa.Column("page_label", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("citations", "page_label")
