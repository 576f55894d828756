"""server groups and rebuilds"""

import sqlalchemy as sa
from alembic import op

revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None


def upgrade() -> None:
    policy = sa.Column('rebuild_policy', sa.String(length=16), nullable=False, server_default='automatic')
    op.add_column('instances', policy)
    op.add_column('instances', sa.Column('server_group', sa.JSON(), nullable=True))
    op.add_column('instances', sa.Column('rebuild', sa.String(length=36), nullable=True))


def downgrade() -> None:
    for column in ('rebuild', 'server_group', 'rebuild_policy'):
        op.drop_column('instances', column)
