"""Wait until an object is ready, or until it is gone.

Polls with one GET per second on a persistent connection, which is simpler than informers. `judge` defines readiness.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from local.plugins.kubernetes.errors import ApiError, NoSuchKind, Unreachable
from local.plugins.kubernetes.facts import Cluster, name_of, namespace_of
from local.plugins.kubernetes.judge import State, judge, waiting
from local.plugins.kubernetes.naming import SKIP_AWAIT, TIMEOUT_SECONDS, annotation, is_true, kind_of, object_id
from local.plugins.kubernetes.podlook import pod_reasons, warnings_of

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from local.plugins.kubernetes.client import Object

DEFAULT_TIMEOUT_S = 600.0  # the official provider's
_POLL_FIRST_S, _POLL_MOST_S, _POLL_GROWTH = 0.1, 1.0, 1.5
_QUIET_S = 1.0  # shorter waits show no progress
_UNREACHABLE_PATIENCE_S = 60.0  # enough for a restart of the API server


class NotReady(Exception):  # noqa: N818
    """The object did not become ready, or was not deleted.

    Attributes:
        reasons: Reasons from the object's pods and events.
        live: The last known object.
    """

    def __init__(self, message: str, reasons: list[str], live: Object) -> None:
        super().__init__(message)
        self.reasons = reasons
        self.live = live


class Cancelled(Exception):  # noqa: N818
    """The user pressed Ctrl-C."""


def timeout_of(custom_s: float, inputs: Object) -> float:
    """The timeout in seconds: the resource option `custom_timeouts`, else the annotation, else the default."""
    if custom_s > 0:
        return custom_s
    text = annotation(inputs, TIMEOUT_SECONDS)
    return float(text) if text.isdigit() else DEFAULT_TIMEOUT_S


def wait_ready(  # noqa: C901, PLR0912  # one loop with all its exits
    obj: Object,
    inputs: Object,
    cluster: Cluster,
    *,
    timeout_s: float,
    cancelled: threading.Event,
    status: Callable[[str], None],
) -> Object:
    """Wait until an object is ready.

    Args:
        obj: The object that the API server returned.
        inputs: The program's inputs, whose annotations control the wait.
        cluster: Queried for the current object.
        timeout_s: Timeout in seconds.
        cancelled: Set when the user presses Ctrl-C.
        status: Receives progress messages.

    Returns:
        The current object.

    Raises:
        NotReady: The object failed, or the timeout expired.
        Cancelled: The user pressed Ctrl-C.
    """
    if is_true(inputs, SKIP_AWAIT):
        return obj
    kind, space, name = kind_of(obj), namespace_of(obj), name_of(obj)
    started = time.monotonic()
    last_answer = started
    pause = _POLL_FIRST_S
    live = obj
    verdict = waiting("")
    looked = 0.0
    reasons: list[str] = []
    while True:
        try:
            verdict = judge(live, cluster)
            last_answer = time.monotonic()
        except Unreachable as error:
            verdict = waiting(str(error))
            if time.monotonic() - last_answer > _UNREACHABLE_PATIENCE_S:
                raise NotReady(f"lost the API server while waiting: {error}", [], live) from error
        if verdict.state is State.READY:
            status("")
            return live
        now = time.monotonic()
        if verdict.state is State.FAILED or now - started >= timeout_s:
            break
        if now - looked > _POLL_MOST_S * 3 and now - started > _POLL_MOST_S:
            looked, reasons = now, pod_reasons(live, cluster)
        if now - started > _QUIET_S:
            status(f"{verdict.message}{' (' + reasons[0] + ')' if reasons else ''}")
        if cancelled.wait(min(pause, max(0.0, timeout_s - (now - started)))):
            raise Cancelled(f"cancelled while waiting for {kind.kind} {object_id(live)}: {verdict.message}")
        pause = min(pause * _POLL_GROWTH, _POLL_MOST_S)
        try:
            live = cluster.get(kind, space, name)
        except Unreachable:
            continue
        except ApiError as error:
            if not error.not_found:
                raise
            if kind.kind in ("Job", "Pod") and ((live.get("spec") or {}).get("ttlSecondsAfterFinished") is not None):
                status("")
                return live  # cleaned up after it finished
            raise NotReady(f"{kind.kind} {object_id(live)} was deleted by another client while waiting for it", [], live) from error
    details = pod_reasons(live, cluster, logs=True) + warnings_of(live, cluster)
    if verdict.state is State.FAILED:
        raise NotReady(f"{kind.kind} {object_id(live)} failed: {verdict.message}", details, live)
    raise NotReady(
        f"{kind.kind} {object_id(live)} was not ready after {timeout_s:.0f} s: {verdict.message}",
        details,
        live,
    )


def wait_gone(  # noqa: C901  # one loop with all its exits
    obj: Object,
    cluster: Cluster,
    *,
    timeout_s: float,
    cancelled: threading.Event,
    status: Callable[[str], None],
) -> None:
    """Wait until an object is gone, or another one has its name.

    Raises:
        NotReady: The timeout expired; the reasons name what blocks the deletion.
        Cancelled: The user pressed Ctrl-C.
    """
    kind, space, name = kind_of(obj), namespace_of(obj), name_of(obj)
    uid = obj["metadata"].get("uid")
    started = last_answer = time.monotonic()
    pause = _POLL_FIRST_S / 2
    live = obj
    while True:
        try:
            live = cluster.get(kind, space, name)
            last_answer = time.monotonic()
            if uid and live["metadata"].get("uid") != uid:
                break
        except NoSuchKind:
            break
        except ApiError as error:
            if error.not_found:
                break
            raise
        except Unreachable:
            if time.monotonic() - last_answer > _UNREACHABLE_PATIENCE_S:
                raise
        holding = what_holds(live)
        now = time.monotonic()
        if now - started >= timeout_s:
            raise NotReady(
                f"{kind.kind} {object_id(live)} still exists {timeout_s:.0f} s after its deletion was requested: {'; '.join(holding)}",
                holding,
                live,
            )
        if now - started > _QUIET_S:
            status("waiting for deletion: " + "; ".join(holding))
        if cancelled.wait(min(pause, timeout_s - (now - started))):
            raise Cancelled(f"cancelled while waiting for the deletion of {kind.kind} {object_id(live)}")
        pause = min(pause * _POLL_GROWTH, _POLL_MOST_S)
    status("")


def what_holds(live: Object) -> list[str]:
    """Why a deleted object still exists."""
    lines = []
    finalizers = live["metadata"].get("finalizers") or []
    own = [item for item in finalizers if item not in ("foregroundDeletion", "orphan")]
    if own:
        lines.append(f"finalizers {', '.join(own)} (their controllers must remove them)")
    if "foregroundDeletion" in finalizers:
        lines.append("the objects that it owns are deleted first")
    if kind_of(live).kind == "Namespace":
        conditions = (live.get("status") or {}).get("conditions") or []
        lines += [str(item["message"]) for item in conditions if item.get("status") == "True" and item.get("message")]
    return lines or ["it is terminating"]
