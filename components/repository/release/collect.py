"""Garbage collection: releases that no stack uses or keeps, and what killed runs have left."""

from __future__ import annotations

from dataclasses import replace

from components.repository.release.layout import tree_name
from components.repository.release.reader import Reader


class Collector(Reader):
    """Deletes only objects that a tree's description names, and only while they are as published. See `release.Catalog`."""

    def withdraw(self, digest: str, token: str, keep: int) -> None:
        """End this owner's use of a release. It is kept to roll back to when another release of this owner has followed.

        Does nothing when the claim has another token: the same release was published again since (models changed and changed back before
        Pulumi deleted the first).
        """
        claims = {claim.digest: claim for claim in self.claims(self.owner)}
        mine = claims.get(digest)
        if mine is None or mine.token != token:
            return
        newer = [
            claim for claim in claims.values() if claim.turn > mine.turn and not claim.kept and self.manifest(claim.digest) is not None
        ]
        if newer:
            self.store.put_bytes(self.claim_key(digest, self.owner), replace(mine, kept=True).dump())
        else:
            self.store.delete_many([self.claim_key(claim, self.owner) for claim in claims])
        self.collect(keep)

    def disown(self, digest: str, owner: str) -> None:
        """Delete the claim of another owner: the stack was renamed."""
        self.store.delete_many([self.claim_key(digest, owner)])

    def collect(self, keep: int) -> None:
        """Delete all but ``keep`` of this owner's old releases, then releases and trees without any claim."""
        mine = sorted(self.claims(self.owner), key=lambda claim: -claim.turn)
        newest = mine[0].turn if mine else 0
        old = [claim for claim in mine if claim.kept]
        # Of killed runs that no later run has finished.
        dead = [claim for claim in mine if not claim.kept and claim.turn < newest and self.manifest(claim.digest) is None]
        self.store.delete_many([self.claim_key(claim.digest, self.owner) for claim in (*old[keep:], *dead)])
        claims = self.claims()
        used = {claim.digest for claim in claims}
        for manifest in self.manifests():
            if manifest.digest not in used:
                # The manifest first: without it, what is left does not count as a release.
                self.store.delete_many([self.manifest_key(manifest.digest)])
                if any(claim.digest == manifest.digest for claim in self.claims()):
                    self.store.put_bytes(self.manifest_key(manifest.digest), manifest.dump())
                else:
                    self.store.delete_many([self.sums_key(manifest.digest)])
        named = {name for claim in claims for name in claim.trees}
        named |= {tree_name(*model) for manifest in self.manifests() for model in manifest.models.items()}
        for name in self.described():
            if name not in named:
                self._delete_tree(name)

    def _delete_tree(self, name: str) -> None:
        tree = self.tree(name)
        if tree is None or tree.name != name:
            return  # not written by this program
        marker = self.garbage_key(name)
        self.store.put_bytes(marker, b"")
        if any(name in claim.trees for claim in self.claims()):
            self.store.delete_many([marker])
            return
        self.mark_incomplete(name)
        root = self.tree_root(name)
        files = {root + file.path: file for file in tree.files}
        ours = [
            stat.key
            for stat in self.store.list(root)
            if (file := files.get(stat.key)) is not None and stat.size == file.size and file.etag in {"", stat.etag}
        ]
        self.store.delete_many(ours)
        self.store.abandon(root)
        self.store.delete_many([self.tree_key(name)])
        self.store.delete_many([marker])
