"""Datastore versions from catalogue files: those that are shipped, and those read in a guest image."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from control_plane.app import create_app
from control_plane.clouds.noop import Books, cloud
from control_plane.database import db
from control_plane.datastores import service as datastores
from control_plane.errors import Invalid
from control_plane.settings import Settings

IN_IMAGE: dict[str, Any] = {
    "datastore": "postgresql",
    "manager": "postgresql",
    "version": "15",
    "engine_version": "15.18",
    "description": "PostgreSQL 15.18, a relational database",
    "parameters": [],
    "character_sets": {},
    "image_tags": ["coffret", "coffret-postgresql-15"],
}


@pytest.fixture
def inside(tmp_path: Path) -> Iterator[None]:
    """Inside an application of its own, over an empty state database."""
    with create_app(Settings(data_dir=tmp_path, cloud="noop"), cloud(Books())).app_context():
        db.create_all()
        yield
        db.session.remove()
        db.engine.dispose()


@pytest.mark.usefixtures("inside")
def test_on_a_cloud_of_images_a_shipped_version_waits_for_one() -> None:
    datastores.import_shipped(images=True)
    with pytest.raises(Invalid, match="has no active version"):
        datastores.resolve("postgresql", None)


@pytest.mark.usefixtures("inside")
def test_a_version_read_in_an_image_is_the_default_there() -> None:
    datastores.import_shipped(images=True)
    datastores.import_catalogue(IN_IMAGE)  # type: ignore[arg-type]
    assert datastores.resolve("postgresql", None).name == "15"
    assert datastores.find_version("postgresql", "15").image_tags == IN_IMAGE["image_tags"]


@pytest.mark.usefixtures("inside")
def test_the_next_start_leaves_an_images_catalogue_alone() -> None:
    """MariaDB 10.11 is shipped, and in Debian's image with a patch level of its own."""
    datastores.import_shipped(images=True)
    in_image = IN_IMAGE | {"datastore": "mariadb", "manager": "mariadb", "version": "10.11"}
    datastores.import_catalogue(in_image)  # type: ignore[arg-type]
    datastores.import_shipped(images=True)
    version = datastores.find_version("mariadb", "10.11")
    assert version.active
    assert version.engine_version == "15.18"


@pytest.mark.usefixtures("inside")
def test_on_this_machine_the_newest_shipped_version_is_the_default() -> None:
    datastores.import_shipped(images=False)
    assert datastores.resolve("postgresql", None).name == "18"
