"""`Toolchain`: makes tools available and says where they are.

It installs nothing: everything it fetches or builds is in the cache, which may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import secrets
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from local.toolchain.errors import COLD_BUILD_GIB, SourceUnavailableError, ToolchainError, free_space
from local.toolchain.manifest import UNITS
from local.toolchain.on_path import why_unfit
from local.toolchain.sources import Origin, Sources, listed, other_origin
from local.toolchain.store import Store
from local.toolchain.units import PACKAGE_S, DebianFiles, GoBuild, Tool, Unit

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from local.progress import Reporter
    from local.toolchain.fetch import Fetcher

_GIB: Final = 1024**3
_PARALLEL_DOWNLOADS: Final = 4
_DOWNLOAD_MB_PER_S: Final = 8.0
_FRESH_INDEX_S: Final = 5.0


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
        cache_root: folder for everything that is fetched or built; any number of processes may share it.
        reporter: receives each step and its estimate.
        units: the manifest; a substitute in tests.
        path: the PATH to search; this process's by default.
        fetcher: downloads releases; a substitute in tests.
        modules: folder of the pinned Go modules; a substitute in tests.
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
        self._sources = Sources(self._store, self._official_go, fetcher=fetcher, modules=modules)
        self._located: dict[str, Located] = {}
        self._refused: dict[str, str] = {}

    def names(self) -> list[str]:
        """Return the names of all tools, in the manifest's order."""
        return [tool for unit in self._units if not unit.internal for tool in unit.tool_names]

    def ensure(self, *names: str) -> None:
        """Make the tools called ``names`` (all by default) available. Takes milliseconds for tools that already are.

        Raises:
            ToolchainError: a tool is unavailable; the message names it, why each source failed, and the remedy.
        """
        wanted = self._wanted(names)
        try:
            missing = [unit for unit in wanted if self._locate(unit) is None]
            if missing:
                self._get(missing)
            self._link(wanted)
        except OSError as error:
            raise ToolchainError(
                f"Tools can't be stored in {self._store.root}: {error}. "
                "Make that folder writable or set TRITON_FLEET_CACHE, then run again."
            ) from error

    def path(self, name: str) -> Path:
        """Return where the tool ``name`` is: a program, or a folder for ``cni-plugins`` and ``iptables``.

        Raises:
            ToolchainError: the manifest has no such tool, or `ensure` has not made it available.
        """
        unit, tool = self._tool(name)
        located = self._locate(unit)
        if located is None:
            raise ToolchainError(f"{name} is not available yet. Get it with `python -m local.toolchain ensure {name}` (or `make up`).")
        return located.tool(tool)

    def located(self, name: str) -> Located | None:
        """Return where the unit of tool ``name`` is and where it came from, or None; for `make doctor`."""
        return self._locate(self._tool(name)[0])

    def refused(self, name: str) -> str | None:
        """Return why the program ``name`` on PATH is not used, or None; for `make doctor`."""
        unit, _ = self._tool(name)
        self._locate(unit)
        return self._refused.get(unit.name)

    def estimate_s(self, *names: str) -> float:
        """Return how many seconds `ensure` is expected to take; 0 when nothing is missing.

        Probes the release hosts of missing tools, all at once: usually instant, at most a few seconds.
        """
        missing = [unit for unit in self._wanted(names) if self._locate(unit) is None]
        self._sources.probe_hosts(missing)
        download = [unit for unit in missing if self._sources.is_downloadable(unit)]
        build = [unit for unit in missing if unit not in download]
        size_mb = sum(release.size_mb for unit in download for release in unit.releases)
        return size_mb / _DOWNLOAD_MB_PER_S + sum(unit.estimate_s() for unit in build)

    def bin_dir(self) -> Path:
        """Return the folder that has a link to each available tool, to be put in front of PATH."""
        keys = [self._key(unit, origin) for unit in self._units for origin in ("release", other_origin(unit))]
        return self._store.root / "bin" / hashlib.sha256("\n".join(keys).encode()).hexdigest()[:12]

    def env(self) -> dict[str, str]:
        """Return the environment variables that find the tools: PATH, with `bin_dir` in front."""
        path = self._path if self._path is not None else os.environ.get("PATH", os.defpath)
        return {"PATH": f"{self.bin_dir()}{os.pathsep}{path}" if path else str(self.bin_dir())}

    def debs(self, *packages: str) -> list[Path]:
        """Return the .deb files of ``packages`` and all their dependencies, whatever this machine has installed.

        Raises:
            ToolchainError: no apt, an unknown package, no reachable package server, or a full disk.
        """
        if self._sources.apt.remembers(*packages):
            return self._sources.apt.closure(*packages)
        with self._reporter.step(f"packages: {listed(packages)}", PACKAGE_S + _FRESH_INDEX_S):
            return self._sources.apt.closure(*packages)

    def wheel(self, name: str, version: str, python: str = "3.11") -> Path:
        """Return the wheel of ``name`` at ``version`` for CPython ``python`` on this machine's architecture.

        Raises:
            ToolchainError: no pip, no such wheel, no reachable index, a file other than the pinned one, or a full disk.
        """
        if self._sources.wheels.remembers(name, version, python):
            return self._sources.wheels.get(name, version, python)
        with self._reporter.step(f"wheel: {name} {version}", PACKAGE_S):
            return self._sources.wheels.get(name, version, python)

    # ------------------------------------------------------------------ finding tools
    def _tool(self, name: str) -> tuple[Unit, Tool]:
        try:
            return self._by_tool[name]
        except KeyError:
            raise ToolchainError(f"Unknown tool {name!r}. Must be one of: {', '.join(self.names())}.") from None

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
            return None  # our own link, in an environment made with `env`
        why_not = why_unfit(program, unit.on_path)
        if why_not is not None:
            self._refused[unit.name] = why_not
            return None
        return Located(unit=unit, root=folder, origin="path")

    def _cached(self, unit: Unit) -> Located | None:
        for origin in ("release", other_origin(unit)):
            root = self._home(unit, origin)
            if root.is_dir() and all((root / tool.path).exists() for tool in unit.tools):
                return Located(unit=unit, root=root, origin=origin)
        return None

    def _home(self, unit: Unit, origin: Origin) -> Path:
        version = unit.release_version if origin == "release" and unit.release_version else unit.version
        return self._store.tools / f"{unit.name}-{version}-{origin}-{self._key(unit, origin)}"

    def _key(self, unit: Unit, origin: Origin) -> str:
        """Digest of everything that decides what is in the unit's folder; estimates are not part of it."""
        described = asdict(unit)
        parts: list[object] = [unit.name, unit.version, platform.machine(), described["tools"]]
        recipe = unit.otherwise
        if origin == "release":
            parts += [unit.release_version, [_without_estimates(release) for release in described["releases"]]]
        elif recipe is not None:
            parts.append(_without_estimates(described["otherwise"]))
            if isinstance(recipe, GoBuild):
                parts.append(self._sources.go.digest(recipe))
            if isinstance(recipe, DebianFiles) and recipe.wrap:
                parts.append(str(self._store.root))  # its scripts contain the cache's path
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]

    # ------------------------------------------------------------------ getting missing tools
    def _get(self, units: list[Unit]) -> None:
        """Download several at once; then packages, which are quick; then builds, one at a time because each uses every core."""
        failures: dict[str, str] = {}
        started = time.monotonic()
        rest = self._download_all([unit for unit in units if unit.releases], failures)
        rest = [unit for unit in units if unit in rest or not unit.releases]
        if rest:
            self._announce(rest, failures)
        self._warn_of_little_space(rest)
        packaged = [unit for unit in rest if not isinstance(unit.otherwise, GoBuild)]
        built = [unit for unit in rest if isinstance(unit.otherwise, GoBuild)]
        # Download the modules of later builds while the first one compiles.
        ahead = [unit.otherwise for unit in built[1:] if isinstance(unit.otherwise, GoBuild)]
        prefetch = self._sources.go.prefetch(ahead) if ahead else None
        try:
            for unit in [*packaged, *built]:
                with self._reporter.step(self._describe(unit), unit.estimate_s()):
                    self._located[unit.name] = self._make(unit, other_origin(unit), failures.get(unit.name))
        finally:
            if prefetch is not None:
                prefetch.stop()
        if rest:
            self._reporter.note(f"All {len(units)} tool sets are available after {_minutes(time.monotonic() - started)}.")

    def _announce(self, units: list[Unit], failures: dict[str, str]) -> None:
        seconds = sum(unit.estimate_s() for unit in units)
        for reason in sorted({failures[unit.name] for unit in units if unit.name in failures}):
            self._reporter.note(f"No release download: {reason}.")
        names = listed([unit.name for unit in units])
        self._reporter.note(
            f"Getting {names} from packages and Go modules: {_minutes(seconds)} expected in total on {os.cpu_count() or 1} cores."
        )

    def _download_all(self, units: list[Unit], failures: dict[str, str]) -> list[Unit]:
        """Download what is downloadable; return the units that failed."""
        if not units:
            return []
        left: list[Unit] = []
        self._sources.fetcher.stop(stopping=False)
        self._sources.probe_hosts(units)
        hopeful = [unit for unit in units if self._sources.is_downloadable(unit)]
        size_mb = sum(release.size_mb for unit in hopeful for release in unit.releases)
        name = f"release downloads of {listed([unit.name for unit in hopeful])}"
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
                except ToolchainError as error:  # a full disk: no other source would help
                    fatal = fatal or error
                except BaseException:
                    self._sources.fetcher.stop()
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
            if fatal is not None:
                raise fatal
        return left

    def _make(self, unit: Unit, origin: Origin, before: str | None = None) -> Located:
        """Make a unit's folder from one source, under its lock, unless another process has done so in the meantime."""
        home = self._home(unit, origin)
        with self._store.lock(unit.name):
            found = self._cached(unit)
            if found is not None:
                return found
            with self._store.staging(unit.name) as staging:
                tree, scratch = staging / "tree", staging / "scratch"
                tree.mkdir()
                scratch.mkdir()
                try:
                    self._sources.fill(unit, origin, tree, scratch, home)
                except SourceUnavailableError as error:
                    if origin == "release":
                        raise
                    tried = f" (nor was a release download possible: {before})" if before else ""
                    raise ToolchainError(f"{listed(unit.tool_names)} can't be obtained{tried}. {error}") from error
                missing = [tool.name for tool in unit.tools if not (tree / tool.path).exists()]
                if missing:
                    raise ToolchainError(
                        f"{unit.name} does not contain {', '.join(missing)}: its entry in the manifest is wrong. Please report it."
                    )
                (tree / "origin.json").write_text(json.dumps({"unit": unit.name, "version": unit.version, "origin": origin}) + "\n")
                self._store.publish(tree, home)
        return Located(unit=unit, root=home, origin=origin)

    def _official_go(self) -> Path:
        unit = next((unit for unit in self._units if unit.name == "go"), None)
        if unit is None:
            raise SourceUnavailableError("the manifest does not list Go")
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
        if located.unit.name == "pulumi":
            # A release has Pulumi's own language host; a build does not.
            hosts = (located.root / "pulumi-language-python", located.root / "bin" / "pulumi-language-python")
            yield from ((host.name, host) for host in hosts if host.exists())

    def _warn_of_little_space(self, units: list[Unit]) -> None:
        """Warn before a long build that the disk may be too small. Only a note: Go's caches may already hold much of it."""
        share = sum(unit.build_s for unit in units) / (sum(unit.build_s for unit in self._units) or 1.0)
        for folder in self._sources.go.caches() if share else []:
            free_gib = free_space(folder) / _GIB
            if free_gib < COLD_BUILD_GIB * share:
                self._reporter.note(
                    f"{folder} has {free_gib:.1f} GiB free; a first build needs about {COLD_BUILD_GIB * share:.0f} GiB. "
                    "Set GOCACHE and GOMODCACHE to put Go's caches elsewhere."
                )
                return

    @staticmethod
    def _describe(unit: Unit) -> str:
        names = listed([name for name in unit.tool_names if name != unit.name])
        version = "" if unit.version == "debian" else f" {unit.version}"
        how = "build of" if isinstance(unit.otherwise, GoBuild) else "package of"
        return f"{how} {unit.name}{version}" + (f" ({names})" if names else "")


def _without_estimates(fields: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if name not in {"build_s", "fetch_s", "size_mb"}}


def _minutes(seconds: float) -> str:
    minute = 60
    return f"about {round(seconds / minute)} min" if seconds >= minute else f"about {max(1, round(seconds))} s"
