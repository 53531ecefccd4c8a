"""A store in memory that can be killed before or after any operation."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING

from components.repository.store.objects import SourceChangedError, Stat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from components.repository.store.objects import Source


class KilledError(BaseException):
    """The process is gone: nothing catches this."""


class MemoryStore:
    """Holds objects; `kill_at` is the number of changes from now after which everything raises."""

    bucket = "fake"

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.sent: list[str] = []
        self.copied: list[str] = []
        self.left: int | None = None
        self.clock = 0.0
        self._lock = threading.Lock()

    def kill_at(self, change: int | None) -> None:
        self.left = change

    def _change(self) -> None:
        if self.left is not None:
            if self.left <= 0:
                raise KilledError
            self.left -= 1

    def _alive(self) -> None:
        if self.left is not None and self.left <= 0:
            raise KilledError

    def _stat(self, key: str) -> Stat:
        body = self.objects[key]
        return Stat(key=key, size=len(body), etag=hashlib.md5(body, usedforsecurity=False).hexdigest(), modified=0.0)

    def describe(self) -> str:
        return "memory"

    def url(self, key: str) -> str:
        return f"mem://fake/{key}"

    def exists(self) -> bool:
        return True

    def list(self, prefix: str) -> Iterator[Stat]:
        with self._lock:
            self._alive()
            found = [self._stat(key) for key in sorted(self.objects) if key.startswith(prefix)]
        return iter(found)

    def head(self, key: str) -> Stat | None:
        with self._lock:
            self._alive()
            return self._stat(key) if key in self.objects else None

    def get_bytes(self, key: str) -> bytes | None:
        with self._lock:
            self._alive()
            return self.objects.get(key)

    def put_bytes(self, key: str, body: bytes) -> Stat:
        with self._lock:
            self._change()
            self.objects[key] = body
            return self._stat(key)

    def put_file(self, key: str, source: Source, _sent: Callable[[int], None]) -> Stat:
        body = source.path.read_bytes()
        if hashlib.sha256(body).hexdigest() != source.sha256:
            raise SourceChangedError(source.path)
        stat = self.put_bytes(key, body)
        self.sent.append(key)
        return stat

    def holds(self, found: Stat, source: Source | None) -> bool:
        return self.objects.get(found.key) == (b"" if source is None else source.path.read_bytes())

    def copy(self, origin: Stat, key: str) -> Stat | None:
        with self._lock:
            self._change()
            if origin.key not in self.objects or self._stat(origin.key).etag != origin.etag:
                return None
            self.objects[key] = self.objects[origin.key]
            self.copied.append(key)
            return self._stat(key)

    def delete_many(self, keys: Iterable[str]) -> None:
        for key in keys:
            with self._lock:
                self._change()
                self.objects.pop(key, None)

    def abandon(self, prefix: str) -> None:
        pass
