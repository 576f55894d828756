"""The state database's tables, brought to this version's."""

import logging

import flask_migrate
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import current_app

from control_plane.database import db

log = logging.getLogger(__name__)


def bring_up_to_date() -> None:
    """Migrate, unless a newer version has been here: it only added, so this one goes on beside it.

    docs/operators/upgrades.md says what a migration may do.
    """
    scripts = ScriptDirectory.from_config(current_app.extensions["migrate"].migrate.get_config())
    known = {script.revision for script in scripts.walk_revisions()}
    with db.engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    if current is not None and current not in known:
        log.warning("the state database is a newer version's, at %s; going on as it is", current)
        return
    flask_migrate.upgrade()
