"""`doctor`: a line for each requirement of this machine, with the remedy."""

from __future__ import annotations

import os
import platform as machine
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from local.cli import kubernetes_plugin
from local.cli.up import platform_of, toolchain_of
from local.plugins import language_python

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.cli.session import Session
    from local.progress import TerminalReporter
    from local.toolchain import Toolchain

Mark = Literal["ok", "missing", "note"]
_MARKS: Final[dict[Mark, str]] = {"ok": "  ok    ", "missing": " MISSING", "note": "  --    "}
_GIB: Final = 2**30
_DISK_COLD_GIB: Final = 20.0
"""To build everything from source: Go's modules and build cache (11 GiB), tools and images (4 GiB), an instance (2 GiB), and a margin."""
_DISK_WARM_GIB: Final = 4.0


@dataclass(frozen=True, kw_only=True)
class Line:
    """One requirement and its state."""

    mark: Mark
    thing: str
    detail: str
    remedy: str = ""

    def __str__(self) -> str:
        """The printed line."""
        return f"{_MARKS[self.mark]} {self.thing:<22} {self.detail}{f'  -> {self.remedy}' if self.remedy else ''}"


def doctor(session: Session, reporter: TerminalReporter) -> int:
    """Print the lines. Exit code 1 if something that `make up` needs is missing."""
    toolchain = toolchain_of(session, reporter)
    lines: list[Line] = []
    for line in _lines(session, toolchain):
        print(line, flush=True)
        lines.append(line)
    missing = [line for line in lines if line.mark == "missing"]
    if missing:
        from local.platform.errors import OWN_CLUSTER_HINT  # noqa: PLC0415

        print(f"\n{len(missing)} of {len(lines)} missing: {', '.join(line.thing for line in missing)}. {OWN_CLUSTER_HINT}")
        return 1
    print("\nThis machine can run `make up`.")
    return 0


def _lines(session: Session, toolchain: Toolchain) -> Iterator[Line]:
    yield Line(mark="ok", thing="Python", detail=f"{machine.python_version()} ({sys.executable})")
    yield Line(mark="ok", thing="machine", detail=f"{machine.system()} {machine.release()}, {machine.machine()}, {os.cpu_count()} cores")
    yield _disk(session, toolchain)
    if session.kube_context is None:
        yield from _platform(session, toolchain)
    else:
        yield Line(mark="note", thing="platform", detail=f"not used: KUBE_CONTEXT={session.kube_context}")
    yield from _tools(toolchain)
    yield _language_host(session, toolchain)
    yield _plugin(session)
    yield Line(mark="ok" if session.state.exists() else "note", thing="state", detail=f"{session.state}{_size_text(session.state)}")


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _disk(session: Session, toolchain: Toolchain) -> Line:
    free = shutil.disk_usage(_existing(session.cache)).free / _GIB
    wanted = _DISK_COLD_GIB if toolchain.estimate_s() > 0 else _DISK_WARM_GIB
    detail = f"{free:.1f} GiB free in {_existing(session.cache)}, {wanted:.0f} GiB needed"
    if free < wanted:
        return Line(
            mark="missing",
            thing="disk for the cache",
            detail=detail,
            remedy="free some space, or set TRITON_FLEET_CACHE to a folder on another disk",
        )
    return Line(mark="ok", thing="disk for the cache", detail=detail)


def _platform(session: Session, toolchain: Toolchain) -> Iterator[Line]:
    platform = platform_of(session, toolchain)
    status = platform.status()
    yield Line(
        mark="ok" if status.running else "note", thing="platform", detail="running" if status.running else "not running (make up starts it)"
    )
    for check in platform.preflight():
        mark: Mark = "ok" if check.ok else "missing" if check.required else "note"
        yield Line(mark=mark, thing=check.name, detail=check.detail, remedy="" if check.ok else check.remedy)


def _tools(toolchain: Toolchain) -> Iterator[Line]:
    for name in toolchain.names():
        located = toolchain.located(name)
        refused = toolchain.refused(name)
        why = f"; {refused}, so it is not used" if refused else ""
        if located is None:
            estimate_s = toolchain.estimate_s(name)
            yield Line(mark="note", thing=name, detail=f"not available yet: make up gets it in about {estimate_s:.0f} s{why}")
        else:
            where = toolchain.path(name)
            yield Line(mark="ok", thing=name, detail=f"{located.unit.version} ({located.origin}): {where}{why}")


def _language_host(session: Session, toolchain: Toolchain) -> Line:
    thing = "Python language host"
    if toolchain.located("pulumi") is None:
        return Line(mark="note", thing=thing, detail="unknown until the Pulumi CLI is available")
    official = language_python.official(toolchain.path("pulumi"), session.environ.get("PATH"))
    if official is not None:
        return Line(mark="ok", thing=thing, detail=f"Pulumi's own: {official}")
    return Line(mark="ok", thing=thing, detail=f"this project's ({language_python.HOST}), because the CLI's folder has none")


def _plugin(session: Session) -> Line:
    found = kubernetes_plugin.installed(session.pulumi_home)
    detail = f"v{found.version}, {kubernetes_plugin.ORIGIN[found.kind]}"
    if found.kind == "none":
        return Line(mark="note", thing="kubernetes plugin", detail=f"v{found.version}: make up installs it")
    return Line(mark="ok", thing="kubernetes plugin", detail=detail)


def _size_text(folder: Path) -> str:
    if not folder.exists():
        return " (does not exist yet)"
    size = 0
    for root, _, files in os.walk(folder):
        for name in files:
            try:
                size += (Path(root) / name).lstat().st_blocks * 512
            except OSError:
                continue
    return f" ({size / _GIB:.1f} GiB)"
