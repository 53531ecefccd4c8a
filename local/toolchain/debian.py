"""Debian packages: fetched and verified by apt, unpacked by dpkg-deb, never installed.

apt runs with its own lists, cache, status and configuration in the toolchain's cache: it neither reads nor changes the machine's package
state and runs none of its hooks. It uses the machine's sources with their keys, its credentials and its proxy settings. The status file
is empty, so that a dependency closure is complete whatever the machine has installed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from local.toolchain.errors import SourceUnavailableError, disk_full, tail
from local.toolchain.process import run

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence

    from local.toolchain.store import Store

_LISTS_FRESH_S: Final = 24 * 3600.0
_PRINTED: Final = re.compile(r"^'(?P<uri>[^']+)' (?P<file>\S+) (?P<size>\d+)(?: SHA256:(?P<sha256>[0-9a-f]{64}))?\s*$", re.MULTILINE)
_DISK_FULL: Final = "No space left on device"
_ETC: Final = Path("/etc")
_CLOSURE: Final = ("install", "-y", "--no-install-recommends")


@dataclass(frozen=True, kw_only=True)
class _Package:
    file: str
    size: int
    sha256: str


class Apt:
    """Downloads packages of this machine's Debian or Ubuntu release.

    Args:
        store: the cache, for packages and for apt's state.
        etc: the configuration folder; a substitute in tests.
    """

    def __init__(self, store: Store, etc: Path = _ETC) -> None:
        self._store = store
        self._etc = etc

    @property
    def _packages(self) -> Path:
        return self._store.downloads / "debs"

    def closure(self, *packages: str) -> list[Path]:
        """Return the files of ``packages`` and all their dependencies (without recommendations), in apt's order.

        The result is cached: until the cache is deleted, the same packages give the same files without a network.

        Raises:
            SourceUnavailableError: no apt, an unknown package, or no reachable package server.
            ToolchainError: the disk is full.
        """
        return self._get(_CLOSURE, packages)

    def remembers(self, *packages: str) -> bool:
        """Whether the cache has the `closure` of the same packages."""
        return self._recorded(self._record(_CLOSURE, sorted(set(packages)))) is not None

    def exact(self, *packages: str) -> list[Path]:
        """Return the files of ``packages`` without their dependencies. Raises as `closure` does."""
        return self._get(("download",), packages)

    # ------------------------------------------------------------------ apt
    def _get(self, action: Sequence[str], packages: Sequence[str]) -> list[Path]:
        wanted = sorted(set(packages))
        for program in ("apt-get", "apt-config", "dpkg-deb"):
            if shutil.which(program) is None:
                raise SourceUnavailableError(
                    f"{program} is not installed, so Debian packages ({', '.join(wanted)}) can't be fetched. "
                    "The embedded platform takes a few programs from packages of Debian 12 or newer, or Ubuntu 22.04 or newer: "
                    "run it on one of these, or use your own cluster with `make up KUBE_CONTEXT=...`."
                )
        record = self._record(action, wanted)
        with self._store.lock("debian-packages"):
            known = self._recorded(record)
            if known is None:
                known = self._fetch(action, wanted, record)
        return [self._packages / package.file for package in known]

    def _record(self, action: Sequence[str], wanted: list[str]) -> Path:
        return self._packages / f"{action[0]}-{_key(_release(self._etc), *wanted)}.json"

    def _recorded(self, record: Path) -> list[_Package] | None:
        try:
            packages = [_Package(**entry) for entry in json.loads(record.read_text())]
        except (OSError, ValueError, TypeError):
            return None
        whole = all((path := self._packages / p.file).is_file() and path.stat().st_size == p.size for p in packages)
        return packages if whole and packages else None

    def _fetch(self, action: Sequence[str], wanted: list[str], record: Path) -> list[_Package]:
        home = self._store.root / "apt" / _key(_release(self._etc))
        env = self._configure(home)
        stamp = home / "lists-fetched"
        fresh = stamp.is_file() and time.time() - stamp.stat().st_mtime < _LISTS_FRESH_S
        if not fresh:
            self._update(env, stamp)
        plan = self._plan(env, action, wanted)
        try:
            self._download(env, action, wanted, plan)
        except SourceUnavailableError:
            if not fresh:
                raise
            # Yesterday's lists may name files that the server has replaced since.
            self._update(env, stamp)
            plan = self._plan(env, action, wanted)
            self._download(env, action, wanted, plan)
        with self._store.staging("debian-packages") as folder:
            staged = folder / "record.json"
            staged.write_text(json.dumps([vars(package) for package in plan], indent=1))
            self._store.publish(staged, record)
        return plan

    def _configure(self, home: Path) -> dict[str, str]:
        for folder in ("state/lists/partial", "cache/archives/partial", "log"):
            (home / folder).mkdir(parents=True, exist_ok=True)
        (home / "status").write_text("")
        machine = run(["apt-config", "dump"]).stdout.splitlines()
        # Keep proxies, retries and certificates. Leave out index targets and hooks.
        lines = [line for line in machine if line.startswith("Acquire::") and not line.startswith("Acquire::IndexTargets")]
        sources = _sources(self._etc)
        (home / "sources.d").mkdir(exist_ok=True)
        for old in (home / "sources.d").iterdir():
            old.unlink()
        for name, text in sources.items():
            (home / "sources.d" / name).write_text(text)
        lines += [
            'APT::Sandbox::User "root";',  # the user _apt can't write in a private home folder
            'APT::Get::AllowUnauthenticated "false";',
            'Acquire::Languages "none";',
            'Acquire::ForceHash "SHA256";',
            'Acquire::Retries "2";',
            'Acquire::http::Timeout "20";',
            'Acquire::https::Timeout "20";',
            'Dir::Etc::parts "/dev/null";',
            'Dir::Etc::main "/dev/null";',
            'Dir::Etc::sourcelist "/dev/null";',
            f'Dir::Etc::sourceparts "{home}/sources.d";',
            'Dir::Etc::preferences "/dev/null";',
            'Dir::Etc::preferencesparts "/dev/null";',
            f'Dir::State "{home}/state";',
            f'Dir::State::status "{home}/status";',
            f'Dir::Cache "{home}/cache";',
            f'Dir::Log "{home}/log";',
        ]
        (home / "apt.conf").write_text("\n".join(lines) + "\n")
        return {**os.environ, "APT_CONFIG": str(home / "apt.conf"), "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}

    def _update(self, env: dict[str, str], stamp: Path) -> None:
        done = run(["apt-get", "update", "-q", "--error-on=any"], env=env)
        if done.returncode:
            self._raise(done, "apt can't read the package lists of this machine's sources, which verify the packages")
        stamp.write_text("")

    def _plan(self, env: dict[str, str], action: Sequence[str], wanted: list[str]) -> list[_Package]:
        done = run(["apt-get", "-q", *action, "--print-uris", *wanted], env=env)
        plan = [_Package(file=m["file"], size=int(m["size"]), sha256=m["sha256"] or "") for m in _PRINTED.finditer(done.stdout)]
        if done.returncode or not plan or not all(package.sha256 for package in plan):
            self._raise(done, f"apt can't get {', '.join(wanted)} from this machine's sources")
        return plan

    def _download(self, env: dict[str, str], action: Sequence[str], wanted: list[str], plan: list[_Package]) -> None:
        missing = [package for package in plan if not self._good(self._packages / package.file, package)]
        if not missing:
            return
        with self._store.staging("debian-packages") as folder:
            (folder / "partial").mkdir()
            archives = f"Dir::Cache::archives={folder}"
            only = () if action[0] == "download" else ("--download-only",)
            done = run(["apt-get", "-q", "-o", archives, *action, *only, *wanted], env=env, cwd=folder)
            if done.returncode:
                self._raise(done, f"apt could not download {', '.join(wanted)}")
            for package in missing:
                staged = folder / package.file
                # apt has verified it; verify it again, because later runs trust the record.
                if not self._good(staged, package):
                    raise SourceUnavailableError(f"{package.file} is not the file in the signed package list; it was discarded. Run again.")
                self._store.publish(staged, self._packages / package.file)

    @staticmethod
    def _good(path: Path, package: _Package) -> bool:
        if not path.is_file() or path.stat().st_size != package.size:
            return False
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == package.sha256

    def _raise(self, done: subprocess.CompletedProcess[str], what: str) -> None:
        if _DISK_FULL in done.stderr or _DISK_FULL in done.stdout:
            raise disk_full("fetching Debian packages", self._store.root)
        raise SourceUnavailableError(
            f"{what}. Check that `apt-get update` works on this machine (network, proxy, sources), then run again. apt's output:\n"
            f"{tail(done.stderr or done.stdout)}"
        )


def unpack(packages: Sequence[Path], folder: Path) -> None:
    """Extract ``packages`` into ``folder`` as dpkg would into /, without running their scripts.

    Raises:
        SourceUnavailableError: a package is corrupt.
        ToolchainError: the disk is full.
    """
    for package in packages:
        done = run(["dpkg-deb", "-x", str(package), str(folder)])
        if done.returncode == 0:
            continue
        if _DISK_FULL in done.stderr:
            raise disk_full(f"unpacking {package.name}", folder)
        raise SourceUnavailableError(
            f"{package.name} can't be unpacked; delete {package} and run again. dpkg-deb's output:\n{tail(done.stderr)}"
        )


def _key(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _release(etc: Path) -> str:
    fields = _os_release(etc)
    return f"{fields.get('ID', 'unknown')}-{fields.get('VERSION_CODENAME', 'unknown')}-{os.uname().machine}"


def _os_release(etc: Path) -> dict[str, str]:
    try:
        lines = (etc / "os-release").read_text().splitlines()
    except OSError:
        return {}
    return {name: value.strip('"') for name, _, value in (line.partition("=") for line in lines)}


def _sources(etc: Path) -> dict[str, str]:
    """Return the machine's sources of the distribution itself, by file name.

    Third-party sources are left out: they could replace a package with their own, and an unreachable one would fail the update.
    """
    codename = _os_release(etc).get("VERSION_CODENAME", "")
    suites = {f"{base}{pocket}" for base in (codename, "stable") for pocket in ("", "-updates", "-security")}
    kept: dict[str, str] = {}
    files = [etc / "apt" / "sources.list", *sorted((etc / "apt" / "sources.list.d").glob("*"))]
    for number, path in enumerate(files):
        if not path.is_file():
            continue
        if path.suffix == ".sources":
            stanzas = [own for stanza in re.split(r"\n\s*\n", path.read_text()) if (own := _own_stanza(stanza, suites))]
            if stanzas:
                kept[f"{number:02}.sources"] = "\n\n".join(stanzas) + "\n"
        elif path.suffix == ".list":
            lines = [line for line in path.read_text().splitlines() if _own_line(line, suites)]
            if lines:
                kept[f"{number:02}.list"] = "\n".join(lines) + "\n"
    if not kept:
        raise SourceUnavailableError(
            f"{etc}/apt lists no source of the distribution itself (suite {codename or 'unknown'}, component main), "
            "so packages can't be fetched and verified. Add one (see `man sources.list`), then run again."
        )
    return kept


def _own_stanza(stanza: str, suites: set[str]) -> str:
    """Return ``stanza`` with only the distribution's own suites (without backports), or nothing if it has none of them."""
    raw: dict[str, list[str]] = {}
    name = ""
    for line in stanza.splitlines():
        if line.startswith("#"):
            continue
        if not line.startswith((" ", "\t")):  # otherwise it continues the field before
            name = line.partition(":")[0].strip().lower()
            raw[name] = []
        raw.setdefault(name, []).append(line)
    values = {name: " ".join(lines).partition(":")[2].split() for name, lines in raw.items()}
    own = [suite for suite in values.get("suites", []) if suite in suites]
    if not own or "deb" not in values.get("types", []) or "main" not in values.get("components", []) or values.get("enabled") == ["no"]:
        return ""
    raw |= {"types": ["Types: deb"], "suites": [f"Suites: {' '.join(own)}"]}
    return "\n".join(line for lines in raw.values() for line in lines)


def _own_line(line: str, suites: set[str]) -> bool:
    words = re.sub(r"\[[^]]*\]", "", line.partition("#")[0]).split()
    return len(words) > 3 and words[0] == "deb" and words[2] in suites and "main" in words[3:]  # noqa: PLR2004 (deb, address, suite)
