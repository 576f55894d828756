"""what projects use"""

from alembic import op

revision = '0011'
down_revision = '0010'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        op.f('ix_instances_project_id_volume_size_ram'), 'instances', ['project_id', 'volume_size', 'ram']
    )


def downgrade() -> None:
    op.drop_index(op.f('ix_instances_project_id_volume_size_ram'), 'instances')
