"""expiry of users"""

import sqlalchemy as sa
from alembic import op

revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('users', sa.Column('expires_at', sa.DateTime(), nullable=True))
    op.create_index(op.f('ix_users_expires_at'), 'users', ['expires_at'])


def downgrade() -> None:
    op.drop_index(op.f('ix_users_expires_at'), 'users')
    op.drop_column('users', 'expires_at')
