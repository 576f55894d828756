"""Tokens `cfrt_<id>.<secret>`: 256 random bits, of which only the SHA-256 is kept."""

import hashlib
import hmac
import secrets
import time
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import String, select
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.auth.context import RequestContext, Role
from control_plane.database import after_commit, db, locked, new_id, now, read, transaction
from control_plane.errors import Unauthenticated
from control_plane.events import service as events
from control_plane.impact import foresee, touches_nothing
from control_plane.work.clock import moment

PREFIX = "cfrt_"
_CACHE_SECONDS = 5.0
"""How long a revoked token may go on in a process that has just seen it."""

ASK = (
    "Send `Authorization: Bearer <token>` with a token of this control plane"
    " (`coffret token create` makes the first)."
)
_cache: dict[tuple[str, str], tuple[float, RequestContext]] = {}


class Token(db.Model):  # type: ignore[name-defined,misc]
    resource_type = "token"
    __tablename__ = "tokens"

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(255))
    project_id: Mapped[str] = mapped_column(String(64), index=True)
    role: Mapped[str] = mapped_column(String(16))
    secret_hash: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime | None]

    @property
    def key(self) -> str:
        return self.name

    @property
    def belongs_to(self) -> tuple[str | None, str | None]:
        return self.project_id, None


def digest(secret: str) -> str:
    """SHA-256 in hex. Enough for secrets of 256 random bits, which cannot be guessed."""
    return hashlib.sha256(secret.encode()).hexdigest()


def create(name: str, project_id: str, role: Role, lifetime: timedelta | None = None) -> tuple[Token, str]:
    """Make a token; its text is returned here and never again. Without a lifetime it never expires."""
    secret = secrets.token_urlsafe(32)
    with transaction() as session:
        token = Token(
            id=new_id(),
            name=name,
            project_id=project_id,
            role=str(role),
            secret_hash=digest(secret),
            expires_at=moment(lifetime.total_seconds()) if lifetime else None,
        )
        session.add(token)
        session.flush()  # reads by the way when it is
        until = f" until {token.expires_at.isoformat()}" if token.expires_at else ""
        events.record("created", f"Token {name!r} with the role {role} created{until}.", token)
        text = f"{PREFIX}{token.id}.{secret}"
    return token, text


def caller(authorization: str) -> RequestContext:
    """Whose token the Authorization header has; raises Unauthenticated."""
    scheme, _, text = authorization.partition(" ")
    token_id, dot, secret = text.strip().removeprefix(PREFIX).partition(".")
    if scheme.lower() != "bearer" or not dot:
        raise Unauthenticated(f"The request has no token. {ASK}")
    key = (token_id, digest(secret))
    known = _cache.get(key)
    if known is None or known[0] < time.monotonic():
        known = _look_up(*key)
        if len(_cache) > 10_000:
            _cache.clear()
        _cache[key] = known
    return known[1]


def _look_up(token_id: str, secret_hash: str) -> tuple[float, RequestContext]:
    """The caller, and until when, by the monotonic clock, that may be taken for true."""
    columns = (Token.id, Token.name, Token.project_id, Token.role, Token.secret_hash, Token.expires_at)
    query = select(*columns, moment().label("now")).where(Token.id == token_id)
    token = next(iter(read(query)), None)
    if token is None or not hmac.compare_digest(token.secret_hash, secret_hash):
        raise Unauthenticated(f"The token is not valid. {ASK}")
    keep = _CACHE_SECONDS
    if token.expires_at is not None:
        left = (token.expires_at - token.now).total_seconds()
        if left <= 0:
            raise Unauthenticated(f"The token expired at {token.expires_at.isoformat()}. {ASK}")
        keep = min(keep, left)
    roles = Role[token.role.upper()].included
    return time.monotonic() + keep, RequestContext(
        token.project_id, user_id=token.name, roles=roles, token_id=token.id
    )


def listing(marker: str, limit: int) -> Sequence[Token]:
    """All tokens by id, after `marker`."""
    return db.session.scalars(select(Token).where(Token.id > marker).order_by(Token.id).limit(limit)).all()


def delete(token_id: str) -> Token | None:
    """Revoke the token; returns it as it was, None when there is none."""
    with transaction() as session:
        row = session.scalar(locked(select(Token).filter_by(id=token_id)))
        if row is not None:
            events.record("deleted", f"Token {row.name!r} revoked.", row)
            session.delete(row)
            foresee(lambda: [touches_nothing("Requests with the token are refused from then on.")])
        after_commit(lambda: _forget(token_id))
        return row


def _forget(token_id: str) -> None:
    for key in [key for key in _cache if key[0] == token_id]:
        _cache.pop(key, None)
