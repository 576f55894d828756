"""Passwords as what the engines keep of them, so that no password is ever stored.

postgresql  SCRAM-SHA-256 string as in pg_authid.rolpassword
            (https://www.postgresql.org/docs/current/catalog-pg-authid.html, RFC 5803)
mariadb     ed25519 public key in unpadded base64
            (https://mariadb.com/kb/en/authentication-plugin-ed25519/)
valkey      SHA-256 in hex, as after `#` in an ACL rule (https://valkey.io/commands/acl-setuser/)
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable

import nacl.bindings
from scramp.utils import ScramException, saslprep

SCRAM_ITERATIONS = 4096
"""PostgreSQL's own default (scram_iterations)."""


def scram_sha_256(password: str, salt: bytes, iterations: int = SCRAM_ITERATIONS) -> str:
    """`SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`."""
    salted = hashlib.pbkdf2_hmac("sha256", _prepared(password), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    parts = (salt, hashlib.sha256(client_key).digest(), server_key)
    text = [base64.b64encode(part).decode() for part in parts]
    return f"SCRAM-SHA-256${iterations}:{text[0]}${text[1]}:{text[2]}"


def _prepared(password: str) -> bytes:
    """SASLprep where it can be done, else as it is, as PostgreSQL and libpq do (RFC 5802 would refuse)."""
    try:
        return (saslprep(password) or password).encode()
    except ScramException:
        return password.encode()


def ed25519(password: str) -> str:
    """MariaDB's public key: the base point times the clamped first half of SHA-512(password)."""
    scalar = bytearray(hashlib.sha512(password.encode()).digest()[:32])
    scalar[0] &= 248
    scalar[31] = scalar[31] & 63 | 64
    public = nacl.bindings.crypto_scalarmult_ed25519_base_noclamp(bytes(scalar))
    return base64.b64encode(public).decode().rstrip("=")


def sha256(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()


_MAKE: dict[str, Callable[[str], str]] = {
    "postgresql": lambda password: scram_sha_256(password, secrets.token_bytes(16)),
    "mariadb": ed25519,
    "valkey": sha256,
}


def make(manager: str, password: str) -> str:
    """The verifier of a new password."""
    return _MAKE[manager](password)


def fits(manager: str, password: str, verifier: str) -> bool:
    """Whether the verifier is of this password, so that sending it again changes nothing."""
    if manager == "postgresql":
        iterations, salt = verifier.split("$")[1].split(":")
        same = scram_sha_256(password, base64.b64decode(salt), int(iterations))
        return hmac.compare_digest(same, verifier)
    return hmac.compare_digest(_MAKE[manager](password), verifier)
