"""The process that warm ones are forked from: ``python -u -P server.py FOLDER [MODULE | MODULE:FUNCTION]...``. See the package.

It has one thread and opens no connection of its own, so that a fork is a whole process: gRPC and asyncio start in the children.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import os
import runpy
import selectors
import signal
import socket
import sys
import tempfile
import threading
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    from collections.abc import Generator

_STREAMS: Final = 3
_ROOT: Final = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a client asks for."""

    arguments: list[str]
    folder: str
    environment: dict[bytes, bytes]
    streams: list[int]

    @classmethod
    def read(cls, connection: socket.socket) -> Order:
        """Take it from a client. Raises OSError when that one ends in the middle."""
        head, streams, _, _ = socket.recv_fds(connection, 4, _STREAMS)
        left, parts = int.from_bytes(head, "big"), []
        while left:
            parts.append(connection.recv(left))
            if not parts[-1]:
                raise ConnectionAbortedError
            left -= len(parts[-1])
        folder, count, *rest = b"".join(parts).split(b"\0")
        pairs = [item.partition(b"=") for item in rest[int(count) :]]
        return cls(
            arguments=[os.fsdecode(argument) for argument in rest[: int(count)]],
            folder=os.fsdecode(folder),
            environment={key: value for key, _, value in pairs},
            streams=list(streams),
        )


def take_environment(environment: dict[bytes, bytes]) -> None:
    """Make ``environment`` this process'."""
    for key in list(os.environb):
        if key not in environment:
            del os.environb[key]
    os.environb.update(environment)


def interpret(arguments: list[str]) -> None:
    """Do what ``python`` does with these arguments: flags in front, then ``-c CODE``, ``-m MODULE`` or a file, and what is theirs."""
    safe_path = False
    while arguments and arguments[0] in {"-u", "-P"}:
        safe_path |= arguments.pop(0) == "-P"
    what = arguments.pop(0)
    if what in {"-c", "-m"}:
        target, first = arguments.pop(0), "" if what == "-c" else str(Path.cwd())
        sys.argv = [what, *arguments]
    else:
        target, first = what, str(Path(what).resolve().parent)
        sys.argv = [what, *arguments]
    if not safe_path:
        sys.path.insert(0, first)
    if what == "-c":
        exec(compile(target, "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102  # what -c is
    elif what == "-m":
        runpy.run_module(target, run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(target, run_name="__main__")


def become(order: Order, report: int) -> NoReturn:
    """Be the process that was ordered; never returns. At a regular end it writes its modules' names into ``report``."""
    code = 1
    try:
        os.setpgid(0, 0)  # what it starts goes with it
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number, stream in enumerate(order.streams):
            os.dup2(stream, number)
            os.close(stream)
        take_environment(order.environment)
        os.chdir(order.folder)
        try:
            interpret(list(order.arguments))
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
            if isinstance(end.code, str):
                print(end.code, file=sys.stderr)
        end_threads: Any = threading._shutdown  # type: ignore[attr-defined]  # as the interpreter's own end does
        end_threads()
        atexit._run_exitfuncs()
        names = [name for name, module in sys.modules.items() if module is not None and name != "__main__"]
        with os.fdopen(report, "w") as file:
            file.write("\n".join(names))
    except BaseException:  # noqa: BLE001  # whatever ends it: an interpreter shows it and ends with 1
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code & 255)


@contextlib.contextmanager
def importing() -> Generator[None]:
    """Import within it: from this checkout too, which is on no child's path that does not put it there.

    What is there at its end stays: no collection of garbage touches it, so that children share it.
    """
    sys.path.insert(0, str(_ROOT))
    try:
        yield
    finally:
        sys.path.remove(str(_ROOT))
    if threading.active_count() > 1:
        sys.exit(f"an imported module has started threads, which a fork would lose: {threading.enumerate()}")
    gc.collect()
    gc.freeze()


def learn(names: list[str]) -> None:
    """Import what a process had imported at its end. What can't be is left to those that want it."""
    if any(name not in sys.modules for name in names):
        with importing():
            for name in names:
                if name not in sys.modules:
                    with contextlib.suppress(Exception):
                        # The SDKs' packages run when something is asked of them. One that lay there unrun while its module came would take
                        # that module for a class of the same name, which is what it has been in the process.
                        getattr(sys.modules.get(name.rpartition(".")[0]), "__all__", None)
                        importlib.import_module(name)


@dataclass(kw_only=True)
class Child:
    """A process that runs."""

    connection: socket.socket
    report: int
    order: Order


class Server:
    """Forks for clients until its standard input ends."""

    def __init__(self, folder: str) -> None:
        os.chdir(folder)  # a socket's path must be short
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind("warm")
        self._listener.listen(64)
        self._woken, wake = os.pipe()
        for end in (self._woken, wake):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake)
        self._selector = selectors.DefaultSelector()
        for stream in (0, self._woken, self._listener.fileno()):
            self._selector.register(stream, selectors.EVENT_READ)
        self._children: dict[int, Child] = {}

    def serve(self) -> None:
        """Fork, pass signals on, tell exit codes."""
        while True:
            for key, _ in self._selector.select():
                if key.fd == 0:
                    self._end()
                    return
                if key.fd == self._woken:
                    os.read(self._woken, 1024)
                elif key.fd == self._listener.fileno():
                    self._start()
                else:
                    self._hear(key.data)
            self._collect()

    def _start(self) -> None:
        connection, _ = self._listener.accept()
        try:
            order = Order.read(connection)
        except (OSError, ValueError):
            connection.close()
            return
        # A file and no pipe: its reader comes when the writer has ended.
        with tempfile.TemporaryFile() as file:
            report = os.dup(file.fileno())
        pid = os.fork()
        if pid == 0:
            self._listener.close()
            self._selector.close()
            for child in self._children.values():
                child.connection.close()
                os.close(child.report)
            connection.close()
            become(order, report)
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)  # both do it: neither may come too late
        for stream in order.streams:
            os.close(stream)
        self._children[pid] = Child(connection=connection, report=report, order=order)
        self._selector.register(connection, selectors.EVENT_READ, data=pid)

    def _hear(self, pid: int) -> None:
        """A signal to pass on; or the client was killed, and its process goes with it."""
        child = self._children.get(pid)
        if child is None:
            return
        try:
            numbers = child.connection.recv(16)
        except OSError:
            numbers = b""
        for number in numbers or bytes([signal.SIGKILL]):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, number)
        if not numbers:
            self._selector.unregister(child.connection)

    def _collect(self) -> None:
        """Tell clients of processes that have ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            child = self._children.pop(pid)
            with contextlib.suppress(KeyError):
                self._selector.unregister(child.connection)
            with contextlib.suppress(OSError):
                child.connection.sendall(os.waitstatus_to_exitcode(status).to_bytes(4, "big", signed=True))
            child.connection.close()
            os.lseek(child.report, 0, os.SEEK_SET)
            with os.fdopen(child.report) as report:
                names = report.read().splitlines()
            if names:
                take_environment(child.order.environment)
                learn(names)

    def _end(self) -> None:
        for pid in self._children:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)


def main(folder: str, modules: list[str]) -> None:
    """Import, listen, say so, serve."""
    with importing():
        for item in modules:
            name, _, function = item.partition(":")
            module = importlib.import_module(name)
            if function:
                getattr(module, function)()
    server = Server(folder)
    print("listening", flush=True)
    server.serve()
    os._exit(0)  # what modules have registered for the end was for the children's


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
