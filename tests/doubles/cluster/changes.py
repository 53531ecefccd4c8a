"""Tells of changes in a cluster, so that who plays a part of it need not list everything several times a second."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Final

import urllib3

from local.plugins.kubernetes.errors import ApiError, NoSuchKind, Unreachable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from local.plugins.kubernetes.client import Client
    from local.plugins.kubernetes.naming import Kind

_WATCH_S: Final = 300
"""How long the API server keeps one watch open, in seconds."""
_AGAIN_S: Final = 0.3


class Changes:
    """Watches kinds, each in a thread that ends with the process or with `stop`."""

    def __init__(self, api: Client, kinds: Sequence[tuple[Kind, str]]) -> None:
        """Watch each (kind, namespace; all where it is empty)."""
        self._api = api
        self._kinds = kinds
        self._changed = threading.Event()
        self._ended = threading.Event()

    def start(self) -> None:
        """Begin. What is there already counts as a change."""
        for kind, namespace in self._kinds:
            threading.Thread(target=self._follow, args=(kind, namespace), name=f"watch-{kind.kind}", daemon=True).start()

    def stop(self) -> None:
        """Tell of nothing more. The threads end when the API server does, or the watch."""
        self._ended.set()

    def again(self) -> None:
        """Count as changed: something could not be done yet."""
        self._changed.set()

    def take(self) -> bool:
        """Whether something has changed since this was asked last."""
        if not self._changed.is_set():
            return False
        self._changed.clear()  # before the caller looks: what changes from now on is told next time
        return True

    def _follow(self, kind: Kind, namespace: str) -> None:
        while not self._ended.is_set():
            with contextlib.suppress(ApiError, NoSuchKind, Unreachable, OSError, urllib3.exceptions.HTTPError):
                self._watch(kind, namespace)
            self._ended.wait(_AGAIN_S)

    def _watch(self, kind: Kind, namespace: str) -> None:
        access = self._api._access
        path = self._api.resource(kind).path(namespace)
        answer = self._api._pool(access.credentials()).request(
            "GET",
            # From the server's cache, which begins with what there is.
            f"{access.server}{path}?watch=1&timeoutSeconds={_WATCH_S}",
            preload_content=False,
            retries=False,
            timeout=urllib3.Timeout(connect=5.0, read=_WATCH_S + 30.0),
        )
        try:
            self._changed.set()
            for _ in answer.stream():
                self._changed.set()
        finally:
            answer.close()
