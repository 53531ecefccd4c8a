"""Progress in Pulumi's own display, and the engine's wish to cancel, from inside of the provider process.

Pulumi's dynamic providers have neither: the engine tells the process its address, and that is all. Both ways here are best effort: where
the process is not what is expected (tests, another SDK), nothing is shown and a cancelled run ends at the end of its transfer.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from components.repository.publish import Progress, Watch
from components.repository.store.objects import Transfer

if TYPE_CHECKING:
    from collections.abc import Callable

_EVERY_S: Final = 2.0
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_CANCEL: Final = "/pulumirpc.ResourceProvider/Cancel"

cancelled = threading.Event()
"""Set once the engine has asked this process to end what it does. One a process: there is no way back from it."""


class Meter:
    """Counts a transfer and says how it goes every few seconds, in the line of ``urn``."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._clock = clock
        self._lock = threading.Lock()
        self._total = Progress(files=0, bytes=0, copied=0)
        self._files = 0
        self._bytes = 0
        self._began = clock()
        self._said = self._began

    def watch(self) -> Watch:
        """What a transfer reports to."""
        return Watch(begins=self._begin, file_done=self._file_done, transfer=Transfer(sent=self._sent, cancelled=cancelled))

    def _begin(self, total: Progress) -> None:
        self._total = total
        self._began = self._said = self._clock()
        copied = f", {total.copied} more are in the bucket already" if total.copied else ""
        self._say(f"uploading {total.files} files, {size(total.bytes)}{copied}")

    def _file_done(self) -> None:
        with self._lock:
            self._files += 1
            text = self._due()
        if text:
            self._say(text)

    def _sent(self, count: int) -> None:
        with self._lock:
            self._bytes += count
            text = self._due()
        if text:
            self._say(text)

    def _due(self) -> str | None:
        now = self._clock()
        done = self._files >= self._total.files
        if now - self._said < _EVERY_S and not done:
            return None
        self._said = now
        spent = max(now - self._began, 1e-3)
        rate = self._bytes / spent
        # By bytes where there are many of them, by files where there are many of those.
        share = max(self._bytes / max(self._total.bytes, 1), self._files / max(self._total.files, 1))
        left = f", {_duration(spent * (1 - share) / share)} left" if 0 < share < 1 else ""
        return f"{self._files}/{self._total.files} files, {size(self._bytes)} of {size(self._total.bytes)}, {size(rate)}/s{left}"


def size(count: float) -> str:
    """A number of bytes for people."""
    unit = 0
    while count >= 1024 and unit < len(_UNITS) - 1:  # noqa: PLR2004  # binary units
        count /= 1024
        unit += 1
    return f"{count:.0f} {_UNITS[unit]}" if unit == 0 or count >= 100 else f"{count:.1f} {_UNITS[unit]}"  # noqa: PLR2004


def _duration(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole}s" if whole < 60 else f"{whole // 60}m{whole % 60:02}s"  # noqa: PLR2004


def speaker(urn: str, *, lasting: bool = False) -> Callable[[str], None]:
    """Something that writes into the status line of a resource, or among its messages that stay (``lasting``).

    Does nothing where there is no engine.
    """
    try:
        stub, request = _engine()
    except Exception:  # noqa: BLE001 (see the module: best effort)
        return lambda _: None

    def say(text: str) -> None:
        with contextlib.suppress(Exception):
            stub.Log(request(message=text, urn=urn, ephemeral=not lasting), timeout=5)

    return say


def _engine() -> tuple[Any, Callable[..., Any]]:
    import grpc  # noqa: PLC0415
    from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc  # noqa: PLC0415

    address = sys.argv[1]  # what the engine gives each plugin that it starts
    stub = engine_pb2_grpc.EngineStub(grpc.insecure_channel(address))

    def request(*, message: str, urn: str, ephemeral: bool) -> Any:
        return engine_pb2.LogRequest(severity=engine_pb2.INFO, message=message, urn=urn, streamId=0, ephemeral=ephemeral)

    return stub, request


def heed_cancel() -> None:
    """Have the engine's Cancel set `cancelled`: the SDK's servicer answers it and does nothing."""
    with contextlib.suppress(Exception):
        frame: Any = sys._current_frames()[threading.main_thread().ident or 0]  # noqa: SLF001 (the server is nowhere else)
        while frame is not None and "server" not in frame.f_locals:
            frame = frame.f_back
        for handler in frame.f_locals["server"]._state.generic_handlers:  # noqa: SLF001
            methods = handler._method_handlers  # noqa: SLF001
            if _CANCEL in methods and not getattr(methods[_CANCEL].unary_unary, "heeds", False):
                plain = methods[_CANCEL].unary_unary

                def cancel(request: Any, context: Any, plain: Any = plain) -> Any:
                    cancelled.set()
                    return plain(request, context)

                cancel.heeds = True  # type: ignore[attr-defined]  # so that it is put in once
                methods[_CANCEL] = methods[_CANCEL]._replace(unary_unary=cancel)
