"""Check whether this machine can run the embedded platform: a line for each requirement, with the remedy. No lasting side effects.

Checks that need namespaces run in a child process, whose namespaces end with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from local.platform import cgroups, libc, sockets
from local.platform.objectstore import has_extended_attributes

if TYPE_CHECKING:
    from local.platform.config import PlatformConfig

NEEDED_MEMORY: Final = 3 * 1024**3
"""Bytes available: the idle platform with the dev stack uses less than 3 GiB."""
NEEDED_DISK: Final = 6 * 1024**3
"""Bytes free in the state folder, for unpacked images, etcd and models."""
INOTIFY_NODE: Final = 34
"""Inotify instances: 26 for the node's processes (measured), the rest for pods that run as root."""
INOTIFY_CONTROL_PLANE: Final = 16
"""Inotify instances: 14 measured."""
_CAPABILITIES: Final = {
    "CAP_SYS_ADMIN": 21,
    "CAP_NET_ADMIN": 12,
    "CAP_SYS_CHROOT": 18,
    "CAP_DAC_OVERRIDE": 1,
    "CAP_SETUID": 6,
    "CAP_MKNOD": 27,
}


@dataclass(frozen=True, kw_only=True)
class Check:
    """One requirement."""

    name: str
    ok: bool
    detail: str
    """The finding."""
    remedy: str = ""
    required: bool = True
    """Whether the platform can't run without it; otherwise it runs with limitations."""

    def __str__(self) -> str:
        mark = "ok  " if self.ok else ("FAIL" if self.required else "note")
        return f"{mark} {self.name}: {self.detail}" + ("" if self.ok or not self.remedy else f". {self.remedy}")


def repository_root() -> Path:
    """The folder that contains ``local``."""
    return Path(__file__).resolve().parents[2]


def child_environment() -> dict[str, str]:
    """Environment of the platform's Python processes: this project's modules, nothing from the caller."""
    # Bytecode in the caller's folder (`make` sets one), never root's files next to the sources.
    kept = os.environ.get("PYTHONPYCACHEPREFIX")
    return {
        "PYTHONPATH": str(repository_root()),
        "PATH": os.defpath + ":/usr/sbin:/sbin",
        "LANG": "C.UTF-8",
        **({"PYTHONPYCACHEPREFIX": kept} if kept else {"PYTHONDONTWRITEBYTECODE": "1"}),
    }


def existing_parent(path: Path) -> Path:
    """``path``, or the nearest folder above it that exists."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def probe(state: Path) -> dict[str, str]:
    """Try namespaces, bridge and overlay in a child process; return the error by name, empty if it works."""
    done = subprocess.run(
        [sys.executable, "-m", "local.platform.preflight", str(existing_parent(state))],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=child_environment(),
        cwd="/",
    )
    try:
        answer: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return {"namespaces": done.stderr.strip()[-300:] or f"the probe failed with exit code {done.returncode}"}
    return answer


def _probe_here(state: str) -> dict[str, str]:
    """Run the probe, in the child process."""
    from local.platform import network  # noqa: PLC0415 - only the child process needs it

    answer: dict[str, str] = {}

    def attempt(name: str, action: Any) -> None:
        try:
            action()
            answer[name] = ""
        except OSError as error:
            answer[name] = str(error)

    attempt("namespaces", lambda: libc.unshare(libc.NODE_NAMESPACES))
    if answer["namespaces"]:
        return answer
    attempt("private mounts", lambda: libc.mount("none", "/", flags=libc.MS_REC | libc.MS_PRIVATE))
    attempt("bridge", network.set_up)
    if not Path("/proc/sys/net/bridge").exists():
        answer["bridge netfilter"] = "no /proc/sys/net/bridge"
    if not Path("/proc/sys/net/ipv4/ip_forward").exists():
        answer["bridge"] = answer["bridge"] or "no IPv4 forwarding"

    def overlay() -> None:
        with tempfile.TemporaryDirectory(dir=state, prefix=".triton-fleet-probe-") as folder:
            for name in ("lower", "upper", "work", "merged"):
                (Path(folder) / name).mkdir()
            options = f"lowerdir={folder}/lower,upperdir={folder}/upper,workdir={folder}/work"
            libc.mount("overlay", f"{folder}/merged", "overlay", options=options)
            libc.unmount(f"{folder}/merged")

    attempt("overlay", overlay)
    return answer


def _available_memory() -> int:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def _missing_capabilities() -> list[str]:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("CapEff:"):
            effective = int(line.split()[1], 16)
            return [name for name, bit in _CAPABILITIES.items() if not effective >> bit & 1]
    return list(_CAPABILITIES)


def check(config: PlatformConfig, *, running: bool = False) -> list[Check]:
    """Check every requirement of ``config``, the cheap ones first; skips the ports of a ``running`` instance."""
    if sys.platform != "linux":
        return [Check(name="Linux", ok=False, detail=f"this is {sys.platform}", remedy="Namespaces and control groups need Linux")]
    checks = [Check(name="Linux", ok=True, detail=f"kernel {os.uname().release}")]
    missing = _missing_capabilities()
    if os.geteuid() != 0 or missing:
        detail = f"running as uid {os.geteuid()}" + (f", without {', '.join(missing)}" if missing else "")
        checks.append(
            Check(name="root", ok=False, detail=detail, remedy="Run as root (sudo -E make up), or in a container started with --privileged")
        )
        return checks
    checks.append(Check(name="root", ok=True, detail="with the required capabilities"))
    tried = probe(config.state)
    explain = {
        "namespaces": "Allow namespaces (a container needs --privileged)",
        "private mounts": "Allow mounts (a container needs --privileged)",
        "bridge": "Load the module: modprobe bridge",
        "bridge netfilter": "Load the module, without which a Service's own pods can't reach it: modprobe br_netfilter",
    }
    bad = {name: text for name, text in tried.items() if text}
    checks += [Check(name=name, ok=False, detail=bad[name], remedy=remedy) for name, remedy in explain.items() if name in bad]
    if not any(name in bad for name in explain):
        checks.append(Check(name="namespaces", ok=True, detail="mount, PID, network with a bridge, UTS and IPC"))
    checks += [*_control_groups(), *_resources(config), *_state(config, tried.get("overlay", "not tried"))]
    for tool in () if config.control_plane_only else ("nsenter", "mount", "umount"):
        if shutil.which(tool, path=child_environment()["PATH"]) is None:
            checks.append(Check(name=tool, ok=False, detail="not found", remedy="Install util-linux and mount"))
    if not running:
        checks += [_inotify(config), *_ports(config)]
    return checks


def _inotify(config: PlatformConfig) -> Check:
    """Check the user's limit of inotify instances: beyond it the kubelet and containerd fail with unclear errors."""
    limit = int(Path("/proc/sys/fs/inotify/max_user_instances").read_text(encoding="ascii"))
    used = 0
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if process.stat().st_uid == os.geteuid():
                used += sum(1 for item in (process / "fd").iterdir() if os.readlink(item) == "anon_inode:inotify")  # noqa: PTH115 - no path
    needed = INOTIFY_CONTROL_PLANE if config.control_plane_only else INOTIFY_NODE
    return Check(
        name="inotify",
        ok=limit - used >= needed,
        detail=f"{max(0, limit - used)} of {limit} instances are free, {needed} needed",
        remedy="Run sysctl -w fs.inotify.max_user_instances=512, or end processes that hold them",
    )


def _control_groups() -> list[Check]:
    hierarchies = cgroups.detect()
    version = "version 2" if hierarchies.unified is not None else "version 1"
    missing = sorted(cgroups.NEEDED - hierarchies.controllers)
    if missing:
        remedy = "Enable them at boot (cgroup_enable=memory) or mount /sys/fs/cgroup"
        return [Check(name="control groups", ok=False, detail=f"{version} without {', '.join(missing)}", remedy=remedy)]
    read_only = [str(folder) for folder in hierarchies.folders if not os.access(folder, os.W_OK)]
    if read_only:
        remedy = "Remount it writable (a container needs --privileged)"
        return [Check(name="control groups", ok=False, detail=f"{read_only[0]} is read-only", remedy=remedy)]
    return [Check(name="control groups", ok=True, detail=f"{version} with {', '.join(sorted(hierarchies.controllers))}")]


def _resources(config: PlatformConfig) -> list[Check]:
    gib = 1024**3
    memory, disk = _available_memory(), shutil.disk_usage(existing_parent(config.state)).free
    needed_memory = NEEDED_MEMORY if not config.control_plane_only else gib
    needed_disk = NEEDED_DISK if not config.control_plane_only else gib
    return [
        Check(
            name="memory",
            ok=memory >= needed_memory,
            detail=f"{memory / gib:.1f} GiB available, {needed_memory / gib:.0f} GiB recommended",
            remedy="Free memory, or pods may be killed when it runs out",
            required=False,
        ),
        Check(
            name="disk",
            ok=disk >= needed_disk,
            detail=f"{disk / gib:.1f} GiB free for {config.state}, {needed_disk / gib:.0f} GiB needed",
            remedy="Free some space, or set TRITON_FLEET_HOME to a folder on a larger disk",
        ),
    ]


def _state(config: PlatformConfig, overlay: str) -> list[Check]:
    if config.control_plane_only:
        return []
    folder = existing_parent(config.state)
    return [
        Check(
            name="overlay file system",
            ok=not overlay,
            detail=overlay or f"on {folder}",
            remedy="Each container gets a copy of its image, which is slow and large. Set TRITON_FLEET_HOME to a folder on ext4 or xfs",
            required=False,
        ),
        Check(
            name="extended attributes",
            ok=has_extended_attributes(folder),
            detail=f"on {folder}",
            remedy="The object store keeps metadata in separate files",
            required=False,
        ),
    ]


def _ports(config: PlatformConfig) -> list[Check]:
    problems = []
    for forward in config.forwards:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", forward.port))
                listener.listen(1)
            except OSError as error:
                problems.append(sockets.describe(forward, error))
    ports = ", ".join(str(forward.port) for forward in config.forwards)
    if problems:
        return [Check(name="port", ok=False, detail=problem) for problem in problems]
    return [Check(name="ports", ok=True, detail=f"{ports} on 127.0.0.1 are free")]


def failures(checks: list[Check]) -> list[Check]:
    """Failed checks that keep the platform from starting."""
    return [item for item in checks if item.required and not item.ok]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_probe_here(sys.argv[1])) + "\n")
