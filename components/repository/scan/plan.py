"""The plan of a release: which files, with which content, under which digest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


class Digests(NamedTuple):
    """Checksums of a file's content."""

    sha256: str
    """Hex."""
    crc32c: str
    """Base64, as in the stores' APIs."""


class PlannedFile(NamedTuple):
    """One object of a release. A tuple because scans make tens of thousands: a frozen dataclass takes three times as long."""

    path: str
    """Below the tree, with forward slashes, such as ``add_sub/1/model.py``."""
    source: str | None
    """File that is uploaded; None for the placeholder of an empty folder. A string, because creating Paths takes longer than the scan."""
    size: int
    """Bytes."""
    sha256: str
    """Hex digest of the content."""
    crc32c: str
    """See `Digests`; empty for a release in the store."""
    modified_ns: int
    """The file's modification time when it was read, in nanoseconds since 1970. Not part of a digest."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The contents of a release."""

    digest: str
    """64 hex digits over the paths and contents of all models; independent of times, owners, order and machine."""
    models: dict[str, str]
    """Digest of each model, by name, sorted."""
    files: tuple[PlannedFile, ...]
    """Sorted by path."""

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of each model, by name."""
        sizes = dict.fromkeys(self.models, 0)
        for file in self.files:
            sizes[file.path.split("/", 1)[0]] += file.size
        return sizes

    def subset(self, models: Collection[str]) -> Plan:
        """Return the plan of some of the models: what a deployment of them serves."""
        return plan(file for file in self.files if file.path.partition("/")[0] in models)

    @property
    def sums(self) -> bytes:
        """One line "sha256 size path" per file. The SHA-256 of this list is the release's digest."""
        return _sums(self.files)


def plan(files: Iterable[PlannedFile]) -> Plan:
    """Return the plan of files whose paths begin with their model's name."""
    ordered = tuple(sorted(files, key=attrgetter("path")))
    # Files of a model are next to each other, so that the sums of all are those of the models one after another.
    sums = {name: _sums(members) for name, members in groupby(ordered, key=lambda file: file.path.partition("/")[0])}
    return Plan(
        digest=_digest(b"".join(sums.values())),
        models={name: _digest(lines) for name, lines in sorted(sums.items())},
        files=ordered,
    )


def parse_sums(sums: bytes) -> list[PlannedFile]:
    """Parse a release's list of files. Lines that can't be parsed are omitted, which changes the digest."""
    lines = [line.split(" ", 2) for line in sums.decode(errors="replace").split("\n")]
    return [
        PlannedFile(line[2], None, int(line[1]), line[0], "", 0)
        for line in lines
        if len(line) == 3 and line[1].isdecimal()  # noqa: PLR2004  # sha256, size, path
    ]


def _digest(sums: bytes) -> str:
    return hashlib.sha256(sums).hexdigest()


def _sums(files: Iterable[PlannedFile]) -> bytes:
    return "".join(f"{file.sha256} {file.size} {file.path}\n" for file in files).encode()
