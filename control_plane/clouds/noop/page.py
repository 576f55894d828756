"""A page of the books that several processes keep: a folder with a file for each line."""

import dataclasses
import json
import os
import tempfile
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar


class Line(Protocol):
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]


T = TypeVar("T", bound=Line)


class Page(MutableMapping[str, T]):
    """What there is of one kind, by instance id. A line is written whole or not at all."""

    def __init__(self, folder: Path, kind: type[T]) -> None:
        self._folder = folder
        self._kind = kind

    def __getitem__(self, instance_id: str) -> T:
        try:
            return self._kind(**json.loads((self._folder / instance_id).read_text()))
        except FileNotFoundError:
            raise KeyError(instance_id) from None

    def __setitem__(self, instance_id: str, line: T) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        descriptor, new = tempfile.mkstemp(prefix=".", dir=self._folder)
        with os.fdopen(descriptor, "w") as file:
            json.dump(dataclasses.asdict(line), file)
        Path(new).replace(self._folder / instance_id)

    def __delitem__(self, instance_id: str) -> None:
        try:
            (self._folder / instance_id).unlink()
        except FileNotFoundError:
            raise KeyError(instance_id) from None

    def __iter__(self) -> Iterator[str]:
        names = [file.name for file in self._folder.glob("*")] if self._folder.exists() else []
        return iter(name for name in names if not name.startswith("."))

    def __len__(self) -> int:
        return sum(1 for _ in self)
