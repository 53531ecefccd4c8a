"""What a tool is and every way to get it: the vocabulary of `local.toolchain.manifest`.

Field names and values decide a tool's key in the cache: renaming a field rebuilds every tool.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Final

MEASURED_CPUS: Final = 2
"""Cores of the machine on which ``build_s`` and ``fetch_s`` were measured."""
PACKAGE_S: Final = 4.0
"""Seconds to fetch and unpack a few packages or a wheel, measured."""


@dataclass(frozen=True, kw_only=True)
class Tool:
    """One program, or one folder of programs, in its unit."""

    name: str
    path: str
    """Path in the unit's folder."""
    links: tuple[str, ...] = ()
    """For a folder: the files in it that are linked into the folder for PATH. A program is linked under its own name."""
    folder: bool = False


@dataclass(frozen=True, kw_only=True)
class OnPath:
    """Which versions of a program on PATH are accepted."""

    program: str
    arguments: tuple[str, ...]
    """Arguments that print the version quickly and without a network."""
    prefix: str
    """Text in front of the version's major and minor number in the program's output."""
    minimum: tuple[int, int]
    below: tuple[int, int]
    """The first version that is too new."""
    companions: tuple[str, ...] = ()
    """Programs that must be in the same folder."""
    needed: str = ""
    """What needs this version; part of the message."""


@dataclass(frozen=True, kw_only=True)
class Release:
    """One file that a publisher releases.

    Placeholders: ``{version}`` (with v), ``{number}`` (without v), and the machine as ``{arch}`` (amd64, arm64), ``{cpu}`` (x86_64, arm64)
    or ``{x64}`` (x64, arm64).
    """

    url: str
    checksums: str
    """URL of the publisher's checksum file: a bare digest, or lines of digest and file name; SHA-256 or SHA-512, told by length."""
    files: dict[str, str] = field(default_factory=dict)
    """For an archive: base name of a member -> path in the unit's folder. ``*`` matches every file."""
    to: str = ""
    """For a bare program: its path in the unit's folder."""
    size_mb: float = 30.0
    """Approximate download size, for the estimate."""


@dataclass(frozen=True, kw_only=True)
class ImageRelease:
    """Programs in a publisher's container image, for publishers that release nothing else. The image's SHA-256 digests verify them."""

    image: str
    """Registry, repository and tag, with the placeholders of `Release`."""
    files: dict[str, str]
    """Base name of a file in the image -> path in the unit's folder."""
    size_mb: float = 30.0


@dataclass(frozen=True, kw_only=True)
class ModuleFile:
    """A file copied from a Go module."""

    module: str
    path: str
    to: str
    mode: int = 0o755


@dataclass(frozen=True, kw_only=True)
class GoBuild:
    """A build from Go modules, in a folder of ``local/toolchain/go`` whose go.mod and go.sum pin every one of them."""

    folder: str
    packages: dict[str, str]
    """Import path of a command -> path of the program in the unit's folder."""
    ldflags: str = "-s -w"
    files: tuple[ModuleFile, ...] = ()
    build_s: float
    """Seconds on `MEASURED_CPUS` cores, modules already downloaded; the build cache was empty when the first unit began, and each unit
    reuses what those before it compiled."""
    fetch_s: float
    """Seconds to download the modules, measured the same way."""


@dataclass(frozen=True, kw_only=True)
class DebianFiles:
    """Programs of distribution packages."""

    packages: tuple[str, ...]
    """All packages to unpack, libraries included; dependencies are not followed."""
    files: dict[str, str]
    """Path in the packages -> path in the unit's folder. A path that ends in a slash is a folder."""
    wrap: bool = False
    """The programs need libraries of these packages: run them through scripts that set the library path."""


@dataclass(frozen=True, kw_only=True)
class WheelFile:
    """A program in a wheel."""

    name: str
    version: str
    files: dict[str, str]
    """Base name of a member -> path in the unit's folder."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """Tools that are fetched or built together."""

    name: str
    version: str
    tools: tuple[Tool, ...]
    on_path: OnPath | None = None
    releases: tuple[Release | ImageRelease, ...] = ()
    """All of them are needed."""
    release_version: str = ""
    """Version of the releases, if it differs from ``version``."""
    otherwise: GoBuild | DebianFiles | WheelFile | None = None
    internal: bool = False
    """Only for building other tools or for tests: `Toolchain.ensure` without names skips it."""

    @property
    def tool_names(self) -> tuple[str, ...]:
        """Names of the tools."""
        return tuple(tool.name for tool in self.tools)

    @property
    def build_s(self) -> float:
        """Seconds of compilation as measured; 0 for what is not built."""
        return self.otherwise.build_s if isinstance(self.otherwise, GoBuild) else 0.0

    def estimate_s(self) -> float:
        """Seconds to get the unit on this machine without a release."""
        recipe = self.otherwise
        if not isinstance(recipe, GoBuild):
            return PACKAGE_S
        # The compiler uses every core for most of the time; linking, about a tenth, does not scale.
        cpus = max(1, len(os.sched_getaffinity(0)))
        return recipe.build_s * (0.9 * MEASURED_CPUS / cpus + 0.1) + (recipe.fetch_s if cpus > MEASURED_CPUS else recipe.fetch_s / 2)
