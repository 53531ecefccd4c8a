"""Garbage-collects releases that no stack uses or keeps, and the remains of interrupted runs."""

from __future__ import annotations

from dataclasses import replace

from components.repository.release.layout import DIGEST, tree_name
from components.repository.release.reader import Reader
from components.repository.store.objects import in_parallel


class Collector(Reader):
    """Deletes only objects that a tree's description lists, and only if they haven't changed since publication. See `release.Catalog`."""

    def withdraw(self, digest: str, token: str, keep: int) -> None:
        """End this owner's use of a release. If the owner has published a newer one, keep this one for rollback.

        Does nothing if the claim has a different token: the same release has been published again (the models were changed and changed
        back before Pulumi deleted the first one).
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
        """Delete another owner's claim, because the stack was renamed."""
        self.store.delete_many([self.claim_key(digest, owner)])

    def collect(self, keep: int) -> None:
        """Delete all but the newest ``keep`` of this owner's old releases, then all releases and trees without a claim."""
        mine = sorted(self.claims(self.owner), key=lambda claim: -claim.turn)
        newest = mine[0].turn if mine else 0
        old = [claim for claim in mine if claim.kept]
        # Claims of interrupted runs whose release no later run completed.
        dead = [claim for claim in mine if not claim.kept and claim.turn < newest and self.manifest(claim.digest) is None]
        self.store.delete_many([self.claim_key(claim.digest, self.owner) for claim in (*old[keep:], *dead)])
        # Listed before the claims are read: a publisher writes its claim before its lists.
        folder = f"{self.prefix}/.manifests/"
        lists = {stat.key for stat in self.store.list(folder) if stat.key.endswith(".sums")}
        claims = self.claims()
        used = {claim.digest for claim in claims}
        for manifest in self.manifests():
            if manifest.digest not in used:
                # Delete the manifest first: without it, the remaining objects don't count as a release.
                self.store.delete_many([self.manifest_key(manifest.digest)])
                if any(claim.digest == manifest.digest for claim in self.claims()):
                    self.store.put_bytes(self.manifest_key(manifest.digest), manifest.dump())
        unread = [key for key in lists - self._lists_read() if DIGEST.match(key.removeprefix(folder).removesuffix(".sums"))]
        contents = dict(zip(unread, in_parallel(self.store.get_bytes, unread), strict=True))
        self.store.delete_many(unread)
        for key in contents.keys() & (self._lists_read() if unread else set()):
            self.store.put_bytes(key, contents[key] or b"")
        named = {name for claim in claims for name in claim.trees}
        named |= {tree_name(*model) for manifest in self.manifests() for model in manifest.models.items()}
        for name in self.described():
            if name not in named:
                self._delete_tree(name)

    def _lists_read(self) -> set[str]:
        return {self.sums_key(digest) for claim in self.claims() for digest in (claim.digest, *claim.subsets)}

    def _delete_tree(self, name: str) -> None:
        tree = self.tree(name)
        if tree is None or tree.name != name:
            return  # this program didn't write it
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
