"""who wants"""

import sqlalchemy as sa
from alembic import op

revision = '0013'
down_revision = '0012'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('instances', sa.Column('wanted_by', sa.String(length=64), nullable=True))


def downgrade() -> None:
    op.drop_column('instances', 'wanted_by')
