"""Wait for a starting node, and explain what does not become ready."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from local.platform import identity, status
from local.platform.api import ApiError
from local.platform.errors import PlatformError
from local.platform.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from local.platform.config import PlatformConfig

_READY_TIMEOUT_S: Final = 180.0
_POLL_S: Final = 0.2


class Wait:
    """Waits for parts of one running node."""

    def __init__(self, config: PlatformConfig, node: identity.NodeRecord) -> None:
        self._config = config
        self._node = node

    def until(self, what: str, ready: Callable[[], bool]) -> None:
        """Wait until ``ready``; an API error counts as not ready.

        Raises:
            PlatformError: ``what`` is not ready in time, or the node died; with the end of the logs.
        """
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while not _answers(ready):
            if not identity.is_alive(self._node):
                log = Layout(self._config.state).log("node")
                msg = f"The node died before {what} was ready. The end of {log}:\n{_tail(log)}"
                raise PlatformError(msg)
            if time.monotonic() > deadline:
                raise PlatformError(self._explain(what))
            time.sleep(_POLL_S)

    def _explain(self, what: str) -> str:
        lines = [f"{what[0].upper()}{what[1:]} was not ready after {_READY_TIMEOUT_S:.0f} s."]
        bad = [item for item in status.read(self._config).components if not item.ready]
        lines += [f"{item.name} {item.last_end or 'does not answer'}; the end of {item.log}:\n{_tail(item.log)}" for item in bad[:2]]
        lines.append("`make status` shows every component; `make down` and `make up` restart the platform and keep all data.")
        return "\n".join(lines)


def retry(action: Callable[[], None], timeout_s: float = 30.0) -> None:
    """Run ``action`` until it succeeds: for some seconds after its start, the API server is still creating its own roles and namespaces.

    Raises:
        PlatformError: the API still refuses after ``timeout_s`` seconds.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            action()
        except ApiError as error:
            if time.monotonic() > deadline:
                raise PlatformError(f"The Kubernetes API refuses what every start applies: {error}") from error
            time.sleep(0.5)
        else:
            return


def _answers(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except ApiError:
        return False


def _tail(path: Path, lines: int = 12) -> str:
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - 8192))
            text = stream.read().decode("utf-8", "replace")
    except OSError:
        return "(no log)"
    return "\n".join(f"    {line[:400]}" for line in text.splitlines()[-lines:])
