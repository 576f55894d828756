"""turns and holders of leases"""

import sqlalchemy as sa
from alembic import op

revision = '0006'
down_revision = '0005'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('turns',
    sa.Column('name', sa.String(length=32), nullable=False),
    sa.Column('next_at', sa.Double(), nullable=False),
    sa.PrimaryKeyConstraint('name', name=op.f('pk_turns'))
    )
    op.add_column('instances', sa.Column('lease_holder', sa.String(length=128), nullable=True))
    op.add_column('instances', sa.Column('handed_over_at', sa.Double(), nullable=True))
    op.create_index(op.f('ix_instances_lease_expires'), 'instances', ['lease_expires'])


def downgrade() -> None:
    op.drop_index(op.f('ix_instances_lease_expires'), 'instances')
    for column in ('handed_over_at', 'lease_holder'):
        op.drop_column('instances', column)
    op.drop_table('turns')
