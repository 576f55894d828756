"""Verifiers are what the engines themselves would keep of a password."""

import base64

import pytest
from psycopg import pq

from control_plane.users.verifiers import ed25519, fits, make, scram_sha_256, sha256

MANAGERS = ["postgresql", "mariadb", "valkey"]
PASSWORDS = {
    "plain": "correct horse battery",
    "long": "x" * 128,
    "a ligature, which SASLprep takes apart": "\ufb01nancial",
    "a Roman numeral, which SASLprep spells out": "\u2168 legions",
    "accents composed": "caf\u00e9 cr\u00e8me",
    "accents apart, which SASLprep composes": "cafe\u0301 cre\u0300me",
    "a letter unassigned in Unicode 3.2, which SASLprep refuses": "smile \U0001f600 please",
    "both directions, which SASLprep refuses": "\u0627\u0644\u0641 abc 1",
    "right to left": "\u05d0\u05d1\u05d2\u05d3\u05d4\u05d5\u05d6\u05d7",
    "quotes": 'it\'s "quoted" \\ $1 %s',
}


@pytest.fixture(scope="module")
def libpq() -> pq.PGconn:
    """libpq without a connection: encrypt_password asks the server for the algorithm only if not told."""
    return pq.PGconn.connect_start(b"host=/nonexistent")


@pytest.mark.parametrize("password", PASSWORDS.values(), ids=PASSWORDS.keys())
def test_a_scram_verifier_is_libpqs(libpq: pq.PGconn, password: str) -> None:
    theirs = libpq.encrypt_password(password.encode(), b"app", b"scram-sha-256").decode()
    assert fits("postgresql", password, theirs)
    assert not fits("postgresql", password + "!", theirs)
    salt = base64.b64decode(theirs.split("$")[1].split(":")[1])
    assert scram_sha_256(password, salt) == theirs


def test_a_scram_verifier_is_rfc_7677s() -> None:
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    assert scram_sha_256("pencil", salt) == (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
        ":wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )


def test_a_scram_verifier_of_other_iterations_fits() -> None:
    assert fits("postgresql", "correct horse", scram_sha_256("correct horse", b"0" * 16, 10_000))


def test_an_ed25519_verifier_is_mariadbs() -> None:
    """From MariaDB's manual: ed25519_password('secret')."""
    assert ed25519("secret") == "ZIgUREUg5PVgQ6LskhXmO+eZLS0nC8be6HPjYWR4YJY"


def test_a_valkey_verifier_is_the_sha_256_in_hex() -> None:
    assert sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize("manager", MANAGERS)
@pytest.mark.parametrize("password", PASSWORDS.values(), ids=PASSWORDS.keys())
def test_a_verifier_fits_its_password_only(manager: str, password: str) -> None:
    verifier = make(manager, password)
    assert fits(manager, password, verifier)
    assert not fits(manager, password[:-1], verifier)
    assert password not in verifier
    assert len(verifier) <= 255


def test_two_scram_verifiers_of_one_password_have_different_salts() -> None:
    assert make("postgresql", "correct horse") != make("postgresql", "correct horse")
