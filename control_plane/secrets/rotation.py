"""Which keys the state database needs, and encrypting all that is in it with the newest."""

import time
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Column, ColumnElement, Text, and_, cast, func, or_, select, update

from control_plane.database import Base, db, transaction
from control_plane.secrets.columns import Sealed, SealedJSON, keys
from control_plane.secrets.keys import MARK

BATCH = 200
"""Rows of one transaction: writers wait for it no longer than a moment."""
_PAUSE = 0.1
_FINGERPRINT = 8


def check() -> None:
    """Raise SettingsError unless all that is encrypted can be read; at the start, before any write."""
    keys().check(used())


def used() -> set[str]:
    """Fingerprints of the keys that rows are encrypted with."""
    found: set[str] = set()
    for column in _columns():
        text = _text(column)
        at = 1 if isinstance(column.type, Sealed) else 2  # behind the quote of a JSON string
        key = func.substr(text, at + len(MARK), _FINGERPRINT)
        found.update(db.session.scalars(select(key).where(_encrypted(text)).distinct()))
    db.session.rollback()
    return found


def rotate() -> int:
    """Encrypt all that is not encrypted with the newest key, in batches; returns how many values.

    Other processes may read and write meanwhile, and it may be broken off and run again. Raises
    SettingsError while a key is missing, and then changes nothing.
    """
    check()
    return sum(_rotate(column) for column in _columns())


def _rotate(column: Column[Any]) -> int:
    table = column.table
    key, stale = list(table.primary_key), _stale(_text(column))
    batch = select(*key, column).where(stale).limit(BATCH).with_for_update(skip_locked=True)
    count = 0
    while db.session.scalar(select(key[0]).where(stale).limit(1)) is not None:
        with transaction() as session:
            rows = session.execute(batch).all()
            for *identity, value in rows:
                this = and_(*(part == found for part, found in zip(key, identity, strict=True)))
                session.execute(update(table).where(this).values({column: value}))
        count += len(rows)
        if not rows:
            time.sleep(_PAUSE)  # whoever is writing the last ones holds them
    db.session.rollback()
    return count


def _columns() -> Iterator[Column[Any]]:
    for table in Base.metadata.sorted_tables:
        yield from (column for column in table.columns if isinstance(column.type, Sealed | SealedJSON))


def _text(column: Column[Any]) -> ColumnElement[str]:
    """What the database has, as text."""
    return cast(column, Text)


def _encrypted(text: ColumnElement[str]) -> ColumnElement[bool]:
    return or_(text.startswith(MARK), text.startswith(f'"{MARK}'))


def _stale(text: ColumnElement[str]) -> ColumnElement[bool]:
    newest = keys().newest
    if newest is None:
        return _encrypted(text)
    mark = f"{MARK}{newest}:"
    return ~or_(text.startswith(mark), text.startswith(f'"{mark}'))
