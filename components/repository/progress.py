"""Shows in Pulumi's display what an upload will send, and its progress.

Dynamic providers have no interface for progress, but the engine passes its address to each provider process. Without an engine, as in
tests, nothing is shown.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from typing import TYPE_CHECKING, Final

from components.repository.release.publish import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from components.repository.release.layout import Tree
    from components.repository.scan.plan import Plan, PlannedFile

_EVERY_S: Final = 2.0
"""Seconds between two messages."""
_LINES: Final = 30
"""Maximum number of models that a preview lists."""
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")


class Meter(Progress):
    """Says every few seconds how far a transfer is."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._clock = clock
        self._lock = threading.Lock()
        self._files = self._bytes = self._all_files = self._all_bytes = 0
        self._began = self._said = clock()

    def begins(self, files: int, size: int, copied: int) -> None:
        """See Progress."""
        self._all_files, self._all_bytes = files, size
        self._began = self._said = self._clock()
        more = f", {copied} more are in the bucket already" if copied else ""
        self._say(f"uploading {files} files, {shown_bytes(size)}{more}")

    def file_done(self) -> None:
        """See Progress."""
        self._count(files=1)

    def sent(self, count: int) -> None:
        """See Progress."""
        self._count(size=count)

    def _count(self, files: int = 0, size: int = 0) -> None:
        with self._lock:
            self._files += files
            self._bytes += size
            now = self._clock()
            if now - self._said < _EVERY_S and self._files < self._all_files:
                return
            self._said = now
            spent = max(now - self._began, 1e-3)
            # By bytes for large files, by number for many small ones.
            share = max(self._bytes / max(self._all_bytes, 1), self._files / max(self._all_files, 1))
            left = f", {_duration(spent * (1 - share) / share)} left" if 0 < share < 1 else ""
            done = f"{self._files}/{self._all_files} files, {shown_bytes(self._bytes)} of {shown_bytes(self._all_bytes)}"
            text = f"{done}, {shown_bytes(self._bytes / spent)}/s{left}"
        self._say(text)


def shown_bytes(count: float) -> str:
    """A number of bytes with a unit."""
    unit = 0
    while count >= 1024 and unit < len(_UNITS) - 1:  # noqa: PLR2004  # binary units
        count /= 1024
        unit += 1
    return f"{count:.0f} {_UNITS[unit]}" if unit == 0 or count >= 100 else f"{count:.1f} {_UNITS[unit]}"  # noqa: PLR2004


def _duration(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole}s" if whole < 60 else f"{whole // 60}m{whole % 60:02}s"  # noqa: PLR2004


def status_line(urn: str, *, lasting: bool = False) -> Callable[[str], None]:
    """A function that writes into the status line of a resource, or among its lasting messages. Does nothing without an engine."""
    try:
        import grpc  # noqa: PLC0415  # loaded only in the provider's process
        from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc  # noqa: PLC0415

        engine = engine_pb2_grpc.EngineStub(grpc.insecure_channel(sys.argv[1]))  # where the engine puts its address
    except Exception:  # noqa: BLE001  # progress is not worth a failure
        return lambda _: None

    def say(text: str) -> None:
        with contextlib.suppress(Exception):
            request = engine_pb2.LogRequest(severity=engine_pb2.INFO, message=text, urn=urn, streamId=0, ephemeral=not lasting)
            engine.Log(request, timeout=5)

    return say


def changes(plan: Plan, before: Mapping[str, str], trees: Mapping[str, Tree | None]) -> list[str]:
    """Lines for models that are new, changed and gone.

    Args:
        plan: The release to publish.
        before: Digest of each model in the release that is served.
        trees: The trees of those that change, where they could be read.
    """
    members: dict[str, list[PlannedFile]] = {model: [] for model in plan.models}
    for file in plan.files:
        members[file.path.split("/", 1)[0]].append(file)
    lines = [*_models(plan, members, before, trees), *(f"- {model}: gone" for model in sorted(before.keys() - plan.models.keys()))]
    same = sum(before.get(model) == digest for model, digest in plan.models.items())
    if len(lines) > _LINES:
        lines = [*lines[:_LINES], f"and {len(lines) - _LINES} more"]
    return [*lines, *([f"{same} unchanged"] if same else [])]


def _models(
    plan: Plan, members: Mapping[str, list[PlannedFile]], before: Mapping[str, str], trees: Mapping[str, Tree | None]
) -> Iterator[str]:
    for model, digest in plan.models.items():
        files = members[model]
        total = f"{_files(len(files))}, {shown_bytes(sum(file.size for file in files))}"
        tree = trees.get(model)
        if model not in before:
            yield f"+ {model}: {total} to send"
        elif before[model] != digest and tree is None:
            yield f"~ {model}: changed, {total} in all"
        elif before[model] != digest and tree is not None:
            old = {file.path: file.sha256 for file in tree.files}
            contents = set(old.values())
            sent = [file for file in files if file.sha256 not in contents]
            new = sum(file.path not in old for file in files)
            changed = sum(file.path in old and old[file.path] != file.sha256 for file in files)
            gone = len(old.keys() - {file.path for file in files})
            what = ", ".join(f"{count} {kind}" for count, kind in ((new, "new"), (changed, "changed"), (gone, "gone")) if count)
            yield f"~ {model}: {what} of {_files(len(files))}, {shown_bytes(sum(file.size for file in sent))} to send"


def _files(count: int) -> str:
    return f"{count} file{'' if count == 1 else 's'}"
