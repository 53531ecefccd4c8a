"""Python processes that start warm: forked from one that has imported already what they are about to import.

A `pulumi up` starts six of them: the language host, a list of packages, the program, a provider for dynamic resources, the doubles. Each is
an interpreter that runs for a moment and spends most of it on imports that the last one did too. `Warm` starts a server (`server`) and
writes an executable that stands in for ``python``: it hands its arguments, environment, folder and standard streams to the server, which
forks, and waits for that process' end (`client`). Nothing is shared between two of them but what was imported: each has its own memory,
ends on its own, is killed with whoever started it.

The program's first process imports all of its modules itself, as one of a user's does; what it has imported by its end is what the server
imports before it forks the next one.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

LIGHT: Final = "local.plugins.light:light_packages"
"""For ``preload``, before all else: plugins need the protocol, and not the SDK."""
DOUBLES: Final = (LIGHT, "tests.doubles.provider_server")
"""For ``preload``: what all doubles have in common."""
_HERE: Final = Path(__file__).resolve().parent


class Warm:
    """A server and its ``python``.

    Attributes:
        python: The executable, in a folder that passes for a virtual environment's ``bin``.
    """

    def __init__(self, folder: Path, *, preload: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> None:
        """Prepare a server with its files in ``folder``.

        Args:
            folder: Of its own; made when it lacks.
            preload: Modules that it imports at once, or ``module:function`` for what it calls in between.
            environment: Of the server: what counts while modules are imported. This process' by default.
        """
        self._folder = folder
        self._preload = preload
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self.python = folder / "bin" / "python"
        self.python.parent.mkdir(parents=True, exist_ok=True)
        # Isolated and without site: it imports the standard library's sockets and no more.
        text = (_HERE / "client.py").read_text(encoding="utf-8").replace("@FOLDER@", str(folder))
        self.python.write_text(f"#!{sys.executable} -IS\n{text}", encoding="utf-8")
        self.python.chmod(0o755)

    @property
    def virtualenv(self) -> Path:
        """For ``runtime.options.virtualenv``."""
        return self.python.parents[1]

    def __enter__(self) -> Self:
        """Start the server. Raises RuntimeError when it ends before it listens."""
        # -u, which all that it becomes is started with: `pulumi.dynamic` writes its port into the buffer below the text and does not flush.
        command = [sys.executable, "-u", "-P", str(_HERE / "server.py"), str(self._folder), *self._preload]
        # A session of its own: Ctrl-C is for the clients, and those pass it on. It ends when our end of its standard input does.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self._environment, start_new_session=True
        )
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            self.close()
            message = "the server of warm processes ended before it listened"
            raise RuntimeError(message)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End the server, and with it whatever it has started and is still there."""
        self.close()

    def close(self) -> None:
        """End the server."""
        if self._process is not None:
            for stream in (self._process.stdin, self._process.stdout):
                assert stream is not None
                stream.close()
            self._process.wait()
            self._process = None
