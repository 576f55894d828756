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
import scramp

SCRAM_ITERATIONS = 4096
"""PostgreSQL's own default (scram_iterations)."""


def scram_sha_256(password: str, salt: bytes | None = None) -> str:
    """`SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`."""
    salt, stored_key, server_key, iterations = scramp.ScramMechanism("SCRAM-SHA-256").make_auth_info(
        password, iteration_count=SCRAM_ITERATIONS, salt=salt
    )
    text = [base64.b64encode(part).decode() for part in (salt, stored_key, server_key)]
    return f"SCRAM-SHA-256${iterations}:{text[0]}${text[1]}:{text[2]}"


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
        salt = base64.b64decode(verifier.split("$")[1].split(":")[1])
        return hmac.compare_digest(scram_sha_256(password, salt), verifier)
    return hmac.compare_digest(_MAKE[manager](password), verifier)
