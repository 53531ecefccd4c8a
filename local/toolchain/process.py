"""Run programs: keep their output for error messages, and end them when this process ends."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@functools.cache
def _leash() -> tuple[str, ...]:
    # A build that outlives its killed parent would use every core for minutes. The kernel can end it together with its parent; with a
    # util-linux too old for that, the build finishes in a staging folder that the next run removes.
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return ()
    probe = subprocess.run([setpriv, "--pdeathsig", "TERM", "true"], check=False, capture_output=True)
    return (setpriv, "--pdeathsig", "TERM") if probe.returncode == 0 else ()


class Running:
    """A running program, in its own process group so that its children end with it."""

    def __init__(self, command: Sequence[str], *, env: Mapping[str, str], cwd: Path | None = None) -> None:
        self._process = subprocess.Popen(
            [*_leash(), *command],
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )

    def finish(self, timeout_s: float | None = None) -> subprocess.CompletedProcess[str]:
        """Wait until the program ends. An interrupt (Ctrl-C) or the timeout ends it first.

        Raises:
            subprocess.TimeoutExpired: after ``timeout_s`` seconds.
        """
        try:
            stdout, stderr = self._process.communicate(timeout=timeout_s)
        except BaseException:
            self.end()
            raise
        return subprocess.CompletedProcess(self._process.args, self._process.returncode, stdout, stderr)

    def end(self) -> None:
        """End the program and its children, if they still run."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def run(
    command: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None, timeout_s: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``command`` and return its output and exit status, which the caller checks. Raises as `Running.finish` does."""
    return Running(command, env=os.environ if env is None else env, cwd=cwd).finish(timeout_s)
