"""Idempotency-Key for POST: a repeated request gets the first one's answer for 24 hours."""

import functools
import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Any, ParamSpec

from flask import Response, make_response, request
from sqlalchemy import String, delete, select
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.auth import context
from control_plane.database import db, queue_up, transaction
from control_plane.errors import IdempotencyMismatch, Invalid
from control_plane.http import answers
from control_plane.secrets import SealedJSON
from control_plane.work.clock import moment

KEEP = 24 * 3600.0
"""Seconds."""
P = ParamSpec("P")


class IdempotencyKey(db.Model):  # type: ignore[name-defined,misc]
    __tablename__ = "idempotency_keys"

    project_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    request_hash: Mapped[str] = mapped_column(String(64))
    status: Mapped[int]
    body: Mapped[dict[str, Any]] = mapped_column(SealedJSON)
    """Encrypted, since an answer may be the only one that shows a password or token."""
    created_at: Mapped[datetime] = mapped_column(default=moment())


def idempotent(view: Callable[P, Any]) -> Callable[P, Response]:
    """Run the view at most once for a key; its writes and the kept answer commit together."""

    @functools.wraps(view)
    def once(*args: P.args, **kwargs: P.kwargs) -> Response:
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return make_response(view(*args, **kwargs))
        if not 1 <= len(key) <= 255:
            raise Invalid.field("Idempotency-Key", "The key must have 1 to 255 characters.")
        request_hash = hashlib.sha256(
            b"\0".join([request.method.encode(), request.path.encode(), request.get_data()])
        ).hexdigest()
        project_id = context().project_id
        known = (
            select(IdempotencyKey)
            .filter_by(project_id=project_id, key=key)
            .where(IdempotencyKey.created_at >= moment(-KEEP))
        )
        with transaction() as session:
            kept = session.scalar(known)
            if kept is None:
                queue_up(f"project {project_id}")
                session.execute(
                    delete(IdempotencyKey).where(
                        IdempotencyKey.project_id == project_id, IdempotencyKey.created_at < moment(-KEEP)
                    )
                )
                kept = session.scalar(known, execution_options={"populate_existing": True})
            if kept is None:
                response = make_response(view(*args, **kwargs))
                session.add(
                    IdempotencyKey(
                        project_id=project_id,
                        key=key,
                        request_hash=request_hash,
                        status=response.status_code,
                        body=response.get_json(),
                    )
                )
                return response
            if kept.request_hash != request_hash:
                raise IdempotencyMismatch(
                    "This Idempotency-Key was sent before with another body or path;"
                    " a new request needs a new key."
                )
            response = answers.plain(kept.body, kept.status)
            response.headers["Idempotent-Replayed"] = "true"
            return response

    return once
