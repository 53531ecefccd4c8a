"""Going away: releases that nobody uses or keeps, and what killed runs have left. Never anything that was not uploaded here."""

from __future__ import annotations

from components.repository.layout import Mark, tree_name
from components.repository.shelf import Shelf


class Collector(Shelf):
    """See `release.Releases`."""

    def withdraw(self, digest: str, token: str, keep: int) -> None:
        """End this owner's use of a release: kept to roll back to when another one of this owner's has followed, gone otherwise.

        Does nothing when the mark is another deployment's by now: the same release was published again since (models changed and were
        changed back before the deletion of the first came to its turn).
        """
        marks = {mark.digest: mark for mark in self.marks(self.owner)}
        mine = marks.get(digest)
        if mine is None or mine.token != token:
            return
        newer = [mark for mark in marks.values() if mark.turn > mine.turn and not mark.kept and self.manifest(mark.digest) is not None]
        if newer:
            kept = Mark(digest=digest, owner=self.owner, token=mine.token, turn=mine.turn, kept=True, trees=mine.trees)
            self.store.put_bytes(self.mark_key(digest, self.owner), kept.dump())
        else:
            self.store.delete_many([self.mark_key(mark, self.owner) for mark in marks])
        self.collect(keep)

    def disown(self, digest: str, owner: str) -> None:
        """Take another name's mark of a release away: the stack was renamed."""
        self.store.delete_many([self.mark_key(digest, owner)])

    def collect(self, keep: int) -> None:
        """Delete what nobody uses or keeps: of this owner's old releases all but ``keep``, then releases and trees without any mark.

        Only objects that a tree's description names, and only as they were published: never anything that was not uploaded here.
        """
        mine = sorted(self.marks(self.owner), key=lambda mark: -mark.turn)
        newest = mine[0].turn if mine else 0
        old = [mark for mark in mine if mark.kept]
        # A run that was killed, and that no later run came back for.
        dead = [mark for mark in mine if not mark.kept and mark.turn < newest and self.manifest(mark.digest) is None]
        self.store.delete_many([self.mark_key(mark.digest, self.owner) for mark in (*old[keep:], *dead)])
        marks = self.marks()
        used = {mark.digest for mark in marks}
        for manifest in self.manifests():
            if manifest.digest not in used:
                # The manifest first: from then on nobody takes what is left for a whole release.
                self.store.delete_many([self.manifest_key(manifest.digest)])
                if any(mark.digest == manifest.digest for mark in self.marks()):
                    self.store.put_bytes(self.manifest_key(manifest.digest), manifest.dump())
                else:
                    self.store.delete_many([self.sums_key(manifest.digest)])
        named = {name for mark in marks for name in mark.trees}
        named |= {tree_name(*model) for manifest in self.manifests() for model in manifest.models.items()}
        folder = f"{self.prefix}/.trees/"
        described = [stat.key.removeprefix(folder).removesuffix(".json") for stat in self.store.list(folder) if stat.key.endswith(".json")]
        for name in described:
            if name not in named:
                self._delete_tree(name)

    def _delete_tree(self, name: str) -> None:
        tree = self.tree(name)
        if tree is None or tree.name != name:
            return  # not written here
        tomb = self.garbage_key(name)
        self.store.put_bytes(tomb, b"")
        if any(name in mark.trees for mark in self.marks()):
            self.store.delete_many([tomb])
            return
        self.unmake(name)
        root = self.tree_root(name)
        planned = {root + file.path: file for file in tree.files}
        ours = [
            stat.key
            for stat in self.store.list(root)
            if (file := planned.get(stat.key)) is not None and stat.size == file.size and file.etag in {"", stat.etag}
        ]
        self.store.delete_many(ours)
        self.store.abandon(root)
        self.store.delete_many([self.tree_key(name)])
        self.store.delete_many([tomb])
