"""Who follows the guides, step by step, gets what they say. On the local cloud, with the real engine."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from hcl import ROOT
from serving import Serving, served
from workspace import Workspace

GUIDES = ROOT / "terraform-provider" / "templates" / "guides"
OLD, NEW = "the-first-password", "the-second-password"


def blocks(guide: str) -> list[str]:
    text = (GUIDES / f"{guide}.md.tmpl").read_text()
    return re.findall(r"^```terraform\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def local() -> Iterator[Serving]:
    with served() as one:
        one.start()
        yield one


@pytest.fixture(scope="module")
def followed(
    tmp_path_factory: pytest.TempPathFactory, terraform: str, environment: dict[str, str], local: Serving
) -> Iterator[Workspace]:
    """The guide to the first database, to its end; the token stands in for a cloud of clouds.yaml."""
    folder: Path = tmp_path_factory.mktemp("guide")
    configuration, choices = blocks("first-database")
    named = '  cloud = "production" # of clouds.yaml; with OS_CLOUD set, leave it out\n'
    assert named in configuration
    (folder / "main.tf").write_text(configuration.replace(named, ""))
    (folder / "choices.tf").write_text(choices)
    token = str(local.session.headers["Authorization"]).removeprefix("Bearer ")
    mine = {"COFFRET_ENDPOINT": local.url, "COFFRET_TOKEN": token, "TF_VAR_app_password": OLD}
    workspace = Workspace(folder, terraform, environment | mine)
    workspace("apply", "-auto-approve")
    yield workspace
    main = folder / "main.tf"
    main.write_text(main.read_text().replace("deletion_protection = true", "deletion_protection = false"))
    workspace("apply", "-auto-approve")
    workspace("destroy", "-auto-approve")


def url(workspace: Workspace) -> str:
    return workspace("output", "-raw", "database_url")


def logs_in(uri: str, password: str) -> bool:
    try:
        psycopg.connect(uri, password=password).close()
    except psycopg.OperationalError as error:
        assert "password authentication failed" in str(error)  # noqa: PT017
        return False
    return True


def test_the_first_database_takes_its_user(followed: Workspace) -> None:
    with psycopg.connect(url(followed), password=OLD) as connection:
        connection.execute("CREATE TABLE orders (id int)")
    choices = json.loads(followed("output", "-json", "choices"))
    assert "db.small" not in choices["flavors"]
    assert choices["flavors"]
    assert choices["default_version"] is None


def test_what_is_protected_is_not_destroyed(followed: Workspace) -> None:
    assert "deletion_protection" in followed("destroy", "-auto-approve", fails=True)
    assert logs_in(url(followed), OLD)


def test_a_password_is_sent_with_a_new_number_and_not_without(followed: Workspace) -> None:
    """The first block of the guide to new passwords takes the place of the first database's user."""
    main = followed.folder / "main.tf"
    text = main.read_text()
    for block in ('resource "coffret_user" "app"', 'variable "app_password"'):
        text = re.sub(rf"^{block} {{.*?^}}$", "", text, flags=re.MULTILINE | re.DOTALL)
    main.write_text(text)
    (followed.folder / "user.tf").write_text(blocks("rotating-passwords")[0])

    assert "No changes." in followed("plan", TF_VAR_app_password=NEW)
    followed("apply", "-auto-approve", TF_VAR_app_password=NEW)
    assert (logs_in(url(followed), OLD), logs_in(url(followed), NEW)) == (True, False)

    numbered = ("-auto-approve", "-var", "app_password_version=2")
    followed("apply", *numbered, TF_VAR_app_password=NEW)
    assert (logs_in(url(followed), OLD), logs_in(url(followed), NEW)) == (False, True)
    assert OLD not in followed.written()
    assert NEW not in followed.written()


def test_two_users_change_in_turn_and_both_use_the_tables(followed: Workspace) -> None:
    """The last block of that guide, beside the first: `app` makes the tables."""
    pair = blocks("rotating-passwords")[-1].replace('"coffret_user" "app"', '"coffret_user" "pair"')
    (followed.folder / "pair.tf").write_text(pair)

    def apply(blue: tuple[int, str], green: tuple[int, str]) -> None:
        """Each with the number and the password."""
        both = {"blue": blue, "green": green}
        followed(
            "apply",
            "-auto-approve",
            TF_VAR_app_password=NEW,
            TF_VAR_app_password_version="2",
            TF_VAR_password_versions=json.dumps({name: number for name, (number, _) in both.items()}),
            TF_VAR_passwords=json.dumps({name: password for name, (_, password) in both.items()}),
        )

    blue, green = (url(followed).replace("//app@", f"//app_{each}@") for each in ("blue", "green"))
    try:
        apply((1, "blue-password-1"), (1, "green-password-1"))
        with psycopg.connect(blue, password="blue-password-1") as connection:
            connection.execute("INSERT INTO orders VALUES (1)")
        apply((1, "not-sent"), (2, "green-password-2"))
        assert logs_in(blue, "blue-password-1"), "both can log in meanwhile"
        with psycopg.connect(green, password="green-password-2") as connection:
            assert connection.execute("SELECT id FROM orders").fetchall() == [(1,)]
        apply((2, "blue-password-2"), (2, "not-sent"))
        assert (logs_in(blue, "blue-password-1"), logs_in(blue, "blue-password-2")) == (False, True)
    finally:
        (followed.folder / "pair.tf").unlink()
