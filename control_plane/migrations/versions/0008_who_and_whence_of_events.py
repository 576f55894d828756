"""who and whence of events"""

import sqlalchemy as sa
from alembic import op

revision = '0008'
down_revision = '0007'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('events', sa.Column('actor_id', sa.String(length=64), nullable=True))
    op.add_column('events', sa.Column('source', sa.String(length=255), nullable=True))


def downgrade() -> None:
    for column in ('source', 'actor_id'):
        op.drop_column('events', column)
