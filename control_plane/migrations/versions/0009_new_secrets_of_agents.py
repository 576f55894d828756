"""new secrets of agents"""

import sqlalchemy as sa
from alembic import op

revision = '0009'
down_revision = '0008'
branch_labels = None
depends_on = None

COLUMNS = {
    'next_secret_hash': sa.String(length=64),
    'former_secret_hash': sa.String(length=64),
    'secret_since': sa.DateTime(),
    'secret_offered_at': sa.DateTime(),
}


def upgrade() -> None:
    for name, kind in COLUMNS.items():
        op.add_column('agents', sa.Column(name, kind, nullable=True))


def downgrade() -> None:
    for name in COLUMNS:
        op.drop_column('agents', name)
