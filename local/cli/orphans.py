"""Find and end processes whose Pulumi engine was killed."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_HELPER: Final = re.compile(rb"(^|/)pulumi-(resource|language|analyzer)-|^pulumi\.dynamic$")
_HELM: Final = re.compile(rb"(^|/)helm$")
_GRACE_S: Final = 20.0
"""Seconds for a Helm to roll back after SIGTERM."""


def orphans(home: Path) -> dict[int, list[bytes]]:
    """Processes that a killed engine with PULUMI_HOME ``home`` left: plugins, language hosts, dynamic providers, a plugin's Helm.

    A Helm that is upgrading gets SIGTERM when its plugin dies, and rolls back for a while: a second Helm would conflict with it. A user's
    own Helm is not included, nor are processes with a living pulumi among their ancestors. Empty without /proc.

    Returns:
        Command lines, as lists of arguments, by process ID.
    """
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
            if f"PULUMI_HOME={home}".encode() not in variables:
                continue
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        pid = int(folder.name)
        if (any(_HELPER.search(word) for word in words) or _is_plugins_helm(pid, words)) and not _has_engine(pid):
            found[pid] = words
    return found


def end_orphans(home: Path) -> int:
    """End what `orphans` finds, with SIGTERM and then SIGKILL; return how many there were.

    Kills an installing Helm first, before its plugin can send it SIGTERM (local/plugins/kubernetes/helm_cli.py explains why).
    """
    left = orphans(home)
    for pid, words in left.items():
        if b"install" in words and _is_plugins_helm(pid, words):
            _signal(pid, signal.SIGKILL)
    count, deadline = len(left), time.monotonic() + _GRACE_S
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in left:
            _signal(pid, number)
        while number == signal.SIGTERM and (left := orphans(home)) and time.monotonic() < deadline:
            time.sleep(0.05)
    return count


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _is_plugins_helm(pid: int, words: Sequence[bytes]) -> bool:
    """Whether it is a plugin's Helm: the plugin starts it in its own session, a shell in the shell's."""
    with contextlib.suppress(ProcessLookupError):
        return any(_HELM.search(word) for word in words) and os.getsid(pid) == pid
    return False


def _has_engine(pid: int) -> bool:
    while pid > 1:
        try:
            text = (Path("/proc") / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return False
        name, rest = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2 :].split()
        if name == "pulumi":
            return True
        pid = int(rest[1])
    return False
