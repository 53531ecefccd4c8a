"""Releases of one prefix of one bucket as they lie there: what there is, and whether it is still as it was published."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.repository.layout import DIGEST, Layout, Manifest, Mark, Tree, tree_name
from components.repository.store.objects import in_parallel

if TYPE_CHECKING:
    from components.repository.store.objects import ObjectStore


class Shelf(Layout):
    """Reads. Raises FleetError when the store fails."""

    def __init__(self, store: ObjectStore, prefix: str, owner: str) -> None:
        self.store = store
        self.prefix = prefix
        self.owner = owner

    def manifest(self, digest: str) -> Manifest | None:
        """The release, if it is whole (but for what vanished since: see `damage`)."""
        return Manifest.load(self.store.get_bytes(self.manifest_key(digest)))

    def manifests(self) -> list[Manifest]:
        """All releases, the newest first."""
        keys = [stat.key for stat in self.store.list(f"{self.prefix}/.manifests/") if stat.key.endswith(".json")]
        found = [Manifest.load(content) for content in in_parallel(self.store.get_bytes, keys)]
        return sorted((manifest for manifest in found if manifest is not None), key=lambda manifest: -manifest.created)

    def tree(self, name: str) -> Tree | None:
        """The description of a tree."""
        return Tree.load(self.store.get_bytes(self.tree_key(name)))

    def damage(self, digest: str) -> list[str] | None:
        """Paths that are missing or not what was published; None when nothing says that the release is there."""
        manifest = self.manifest(digest)
        if manifest is None:
            return None
        found = in_parallel(lambda model: self.tree_damage(*model), sorted(manifest.models.items()))
        damage = [path for paths in found for path in paths]
        if self.store.head(self.sums_key(digest)) is None:
            damage.append(self.sums_key(digest))
        return damage

    def tree_damage(self, model: str, digest: str) -> list[str]:
        """Paths of one model that are missing or not what was published."""
        name = tree_name(model, digest)
        tree = self.tree(name)
        if tree is None or not tree.whole:
            return [self.tree_key(name)]
        root = self.tree_root(name)
        there = {stat.key: (stat.size, stat.etag) for stat in self.store.list(root)}
        return [file.path for file in tree.files if there.get(root + file.path) != (file.size, file.etag)]

    def marks(self, owner: str | None = None) -> list[Mark]:
        """Marks of one owner, or of all."""
        keys = [stat.key for stat in self.store.list(f"{self.prefix}/.owners/")]
        if owner is not None:
            keys = [key for key in keys if key.rsplit("/", 1)[-1] == owner]
        found = []
        for key, content in zip(keys, in_parallel(self.store.get_bytes, keys), strict=True):
            digest, of = key.removeprefix(f"{self.prefix}/.owners/").split("/", 1)
            if content is not None and DIGEST.match(digest):
                found.append(Mark.load(digest, of, content))
        return found

    def history(self) -> list[Manifest]:
        """Releases that this owner uses or keeps, the newest first: what it can roll back to."""
        marks = sorted(self.marks(self.owner), key=lambda mark: -mark.turn)
        found = in_parallel(self.manifest, [mark.digest for mark in marks])
        return [manifest for manifest in found if manifest is not None]

    def unmake(self, name: str) -> None:
        """Say that a tree is not whole."""
        tree = self.tree(name)
        if tree is not None and tree.whole:
            self.store.put_bytes(self.tree_key(name), Tree(model=tree.model, digest=tree.digest, whole=False, files=tree.files).dump())
