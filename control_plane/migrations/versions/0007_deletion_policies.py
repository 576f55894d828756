"""deletion policies"""

import sqlalchemy as sa
from alembic import op

revision = '0007'
down_revision = '0006'
branch_labels = None
depends_on = None


def upgrade() -> None:
    policy = sa.Column('deletion_policy', sa.String(length=16), nullable=False, server_default='reassign')
    op.add_column('users', policy)
    op.add_column('databases', sa.Column('deletion_policy', sa.String(length=16), nullable=True))


def downgrade() -> None:
    for table in ('databases', 'users'):
        op.drop_column(table, 'deletion_policy')
