"""What lies where below the prefix of a repository, and what it says.

    models/<model>-<digest16>/<model>/<version>/...   a tree: one model as it was, never changed once written. Triton's repository
    .trees/<model>-<digest16>.json                    what belongs to the tree; says whether it is whole
    .manifests/<digest>.json                          a release: which trees. Its presence says that all of them are whole
    .manifests/<digest>.sums                          "sha256 size path" of each file; the digest is the SHA-256 of this object
    .owners/<digest>/<owner>                          a mark: this owner uses the release, or keeps it to roll back to
    .garbage/<model>-<digest16>                       the tree is being deleted
    live/<owner>/<model>/...                          modes poll and explicit: the one repository that Triton reads
    .live/<owner>.json                                what `live/<owner>/` was made of

Everything that is read here may have been written by another version, or by hand: what can't be read is as good as absent, but for a mark,
which keeps its release all the same.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from typing import Final

FORMAT: Final = 2
_DIGITS: Final = 16
"""Hex digits of a model's digest in the name of its tree: 64 bits, and the whole digest is compared before a tree is used."""
DIGEST: Final = re.compile(r"^[0-9a-f]{64}\Z")


def tree_name(model: str, digest: str) -> str:
    """Name of the tree of a model with this digest."""
    return f"{model}-{digest[:_DIGITS]}"


@dataclass(frozen=True, kw_only=True)
class Held:
    """One file of a tree, as it lies in the store."""

    path: str
    """Below the tree, such as ``add_sub/1/model.py``."""
    size: int
    sha256: str
    etag: str
    """Empty while the tree is not whole."""


@dataclass(frozen=True, kw_only=True)
class Tree:
    """One model as it was at one time."""

    model: str
    digest: str
    whole: bool
    files: tuple[Held, ...]

    @property
    def name(self) -> str:
        """Its name in the store."""
        return tree_name(self.model, self.digest)

    def dump(self) -> bytes:
        """As it is stored."""
        files = [[file.path, file.size, file.sha256, file.etag] for file in self.files]
        return json.dumps({"format": FORMAT, "model": self.model, "digest": self.digest, "whole": self.whole, "files": files}).encode()

    @classmethod
    def load(cls, content: bytes | None) -> Tree | None:
        """The tree; None when there is none, or this is no description of one."""
        try:
            data = json.loads(content or b"")
            files = tuple(Held(path=str(p), size=int(s), sha256=str(h), etag=str(e)) for p, s, h, e in data["files"])
            return cls(model=str(data["model"]), digest=str(data["digest"]), whole=data["whole"] is True, files=files)
        except (ValueError, KeyError, TypeError):
            return None


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A release that is whole."""

    digest: str
    models: dict[str, str]
    """Digest of each model."""
    created: float
    """Seconds since 1970."""

    @property
    def name(self) -> str:
        """When it was published, in UTC, such as ``20261121-140512``: what people call it."""
        return time.strftime("%Y%m%d-%H%M%S", time.gmtime(self.created))

    @classmethod
    def load(cls, content: bytes | None) -> Manifest | None:
        """The release; None when there is none, or this is no description of one."""
        try:
            data = json.loads(content or b"")
            models = {str(name): str(digest) for name, digest in data["models"].items()}
            return cls(digest=str(data["digest"]), models=models, created=float(data["created"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    def dump(self) -> bytes:
        """As it is stored."""
        content = {"format": FORMAT, "digest": self.digest, "created": self.created, "models": self.models}
        return json.dumps(content, indent=1, sort_keys=True).encode()


@dataclass(frozen=True, kw_only=True)
class Mark:
    """What one owner says about one release."""

    digest: str
    owner: str
    token: str
    """Of the deployment that made it: a deletion that comes late, with an older one, does nothing."""
    turn: int
    """Higher than that of any mark that this owner made before."""
    kept: bool
    """Not in use any more, only kept to roll back to."""
    trees: tuple[str, ...]

    def dump(self) -> bytes:
        """As it is stored."""
        return json.dumps({"token": self.token, "turn": self.turn, "kept": self.kept, "trees": self.trees}).encode()

    @classmethod
    def load(cls, digest: str, owner: str, content: bytes) -> Mark:
        """The mark; one that can't be read keeps its release, whoever wrote it."""
        try:
            data = json.loads(content)
            return cls(
                digest=digest,
                owner=owner,
                token=str(data["token"]),
                turn=int(data["turn"]),
                kept=data["kept"] is True,
                trees=tuple(str(tree) for tree in data["trees"]),
            )
        except (ValueError, KeyError, TypeError):
            return cls(digest=digest, owner=owner, token="", turn=0, kept=False, trees=())


class Layout:
    """Keys below one prefix."""

    prefix: str

    def tree_root(self, name: str) -> str:
        """Prefix of a tree's files, with its slash."""
        return f"{self.prefix}/models/{name}/"

    def tree_key(self, name: str) -> str:
        """Key of a tree's description."""
        return f"{self.prefix}/.trees/{name}.json"

    def garbage_key(self, name: str) -> str:
        """Key of what says that a tree is being deleted."""
        return f"{self.prefix}/.garbage/{name}"

    def manifest_key(self, digest: str) -> str:
        """Key of a release's manifest."""
        return f"{self.prefix}/.manifests/{digest}.json"

    def sums_key(self, digest: str) -> str:
        """Key of the list of a release's files."""
        return f"{self.prefix}/.manifests/{digest}.sums"

    def mark_key(self, digest: str, owner: str) -> str:
        """Key of an owner's mark of a release."""
        return f"{self.prefix}/.owners/{digest}/{owner}"
