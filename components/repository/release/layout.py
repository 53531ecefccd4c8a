"""The layout and contents of the objects under a repository's prefix.

    models/<model>-<digest16>/<model>/<version>/...   a tree: one version of a model, never changed once written. Triton reads it
    .trees/<model>-<digest16>.json                    the files of the tree, and whether it is whole
    .manifests/<digest>.json                          a release: its trees. Written once all of them are whole
    .manifests/<digest>.sums                          "sha256 size path" of each file of a release or a subset of its models; the digest is
                                                      the SHA-256 of this object
    .owners/<digest>/<owner>                          a claim: this stack uses the release, or keeps it to roll back to
    .garbage/<model>-<digest16>                       a deletion marker: the tree is being deleted
    live/<owner>/<model>/...                          modes poll and explicit: the one repository that Triton reads
    .live/<owner>.json                                what `live/<owner>/` was made of

Another version of this program, or a person, may have written any of it. What can't be parsed counts as absent, except for a claim, which
keeps its release.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import asdict, dataclass
from typing import Final

FORMAT: Final = 2
DIGEST: Final = re.compile(r"^[0-9a-f]{64}\Z")
_DIGITS: Final = 16
"""Hex digits of a model's digest in the name of its tree: 64 bits. The whole digest is compared before a tree is used."""


def tree_name(model: str, digest: str) -> str:
    """Name of the tree of a model with this digest."""
    return f"{model}-{digest[:_DIGITS]}"


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """One file of a tree."""

    path: str
    """Below the tree, such as ``add_sub/1/model.py``."""
    size: int
    sha256: str
    etag: str
    """Empty while the tree is incomplete."""


@dataclass(frozen=True, kw_only=True)
class Tree:
    """One version of a model."""

    model: str
    digest: str
    whole: bool
    files: tuple[StoredFile, ...]

    @property
    def name(self) -> str:
        """Its name in the store."""
        return tree_name(self.model, self.digest)

    def dump(self) -> bytes:
        """Return the stored form."""
        files = [[file.path, file.size, file.sha256, file.etag] for file in self.files]
        return json.dumps({"format": FORMAT, "model": self.model, "digest": self.digest, "whole": self.whole, "files": files}).encode()

    @classmethod
    def load(cls, content: bytes | None) -> Tree | None:
        """Parse the output of `dump`; return None for anything else."""
        try:
            data = json.loads(content or b"")
            files = tuple(StoredFile(path=str(p), size=int(s), sha256=str(h), etag=str(e)) for p, s, h, e in data["files"])
            return cls(model=str(data["model"]), digest=str(data["digest"]), whole=data["whole"] is True, files=files)
        except (ValueError, KeyError, TypeError):
            return None


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A release whose trees are complete."""

    digest: str
    models: dict[str, str]
    """Digest of each model."""
    created: float
    """Seconds since 1970."""

    @property
    def name(self) -> str:
        """Time of publication in UTC, such as ``20261121-140512``."""
        return time.strftime("%Y%m%d-%H%M%S", time.gmtime(self.created))

    def dump(self) -> bytes:
        """Return the stored form."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, sort_keys=True).encode()

    @classmethod
    def load(cls, content: bytes | None) -> Manifest | None:
        """Parse the output of `dump`; return None for anything else."""
        try:
            data = json.loads(content or b"")
            models = {str(name): str(digest) for name, digest in data["models"].items()}
            return cls(digest=str(data["digest"]), models=models, created=float(data["created"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            return None


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A stack's use of one release."""

    digest: str
    owner: str
    token: str
    """Identifies the deployment that wrote the claim: a late deletion by an older one has a different token and does nothing."""
    turn: int
    """Higher than in all earlier claims of this owner."""
    kept: bool
    """No longer used, only kept for rollback."""
    trees: tuple[str, ...]
    subsets: tuple[str, ...] = ()
    """Digests of the subsets of the models whose ``.sums`` deployments read."""

    def dump(self) -> bytes:
        """Return the stored form."""
        names = ("token", "turn", "kept", "trees", "subsets")
        return json.dumps({name: getattr(self, name) for name in names}).encode()

    @classmethod
    def load(cls, digest: str, owner: str, content: bytes) -> Claim:
        """Parse the output of `dump`. Anything else also counts as a claim, so that its release is kept."""
        try:
            data = json.loads(content)
            trees, subsets = (tuple(str(each) for each in data.get(name, ())) for name in ("trees", "subsets"))
            token, turn = str(data["token"]), int(data["turn"])
            return cls(digest=digest, owner=owner, token=token, turn=turn, kept=data["kept"] is True, trees=trees, subsets=subsets)
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls(digest=digest, owner=owner, token="", turn=0, kept=False, trees=())


class Layout:
    """Builds object keys under one prefix."""

    prefix: str

    def tree_root(self, name: str) -> str:
        """Prefix of a tree's files, with its slash."""
        return f"{self.prefix}/models/{name}/"

    def tree_key(self, name: str) -> str:
        """Key of a tree's description."""
        return f"{self.prefix}/.trees/{name}.json"

    def garbage_key(self, name: str) -> str:
        """Key of a tree's deletion marker."""
        return f"{self.prefix}/.garbage/{name}"

    def manifest_key(self, digest: str) -> str:
        """Key of a release's manifest."""
        return f"{self.prefix}/.manifests/{digest}.json"

    def sums_key(self, digest: str) -> str:
        """Key of the list of a release's files."""
        return f"{self.prefix}/.manifests/{digest}.sums"

    def claim_key(self, digest: str, owner: str) -> str:
        """Key of a stack's claim on a release."""
        return f"{self.prefix}/.owners/{digest}/{owner}"
