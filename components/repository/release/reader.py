"""Reads the releases under a prefix and checks whether they have changed since publication."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from components.repository.release.layout import DIGEST, Claim, Layout, Manifest, Tree, tree_name
from components.repository.store.objects import in_parallel

if TYPE_CHECKING:
    from components.repository.store.objects import ObjectStore, Stat


class Reader(Layout):
    """Read-only access to releases. Raises FleetError if the store fails."""

    def __init__(self, store: ObjectStore, prefix: str, owner: str) -> None:
        self.store = store
        self.prefix = prefix
        self.owner = owner

    def manifest(self, digest: str) -> Manifest | None:
        """Return a published release. Its objects may have been deleted since: see `damage`."""
        return Manifest.load(self.store.get_bytes(self.manifest_key(digest)))

    def manifests(self) -> list[Manifest]:
        """Return all releases, newest first."""
        keys = [stat.key for stat in self.store.list(f"{self.prefix}/.manifests/") if stat.key.endswith(".json")]
        found = [Manifest.load(content) for content in in_parallel(self.store.get_bytes, keys)]
        return sorted((manifest for manifest in found if manifest is not None), key=lambda manifest: -manifest.created)

    def tree(self, name: str) -> Tree | None:
        """Return the description of a tree."""
        return Tree.load(self.store.get_bytes(self.tree_key(name)))

    def described(self) -> dict[str, Stat]:
        """Return tree descriptions by name. A tree without one has no objects: descriptions are written first and deleted last."""
        folder = f"{self.prefix}/.trees/"
        found = self.store.list(folder)
        return {stat.key.removeprefix(folder).removesuffix(".json"): stat for stat in found if stat.key.endswith(".json")}

    def damage(self, digest: str) -> list[str] | None:
        """Return paths that are missing or modified, or None if the release has no manifest."""
        manifest = self.manifest(digest)
        if manifest is None:
            return None
        found = in_parallel(lambda model: self.tree_damage(*model), sorted(manifest.models.items()))
        damage = [path for paths in found for path in paths]
        subsets = [subset for claim in self.claims(self.owner) if claim.digest == digest for subset in claim.subsets]
        return [*damage, *(key for key in map(self.sums_key, (digest, *subsets)) if self.store.head(key) is None)]

    def tree_damage(self, model: str, digest: str) -> list[str]:
        """Return paths of one model that are missing or modified."""
        name = tree_name(model, digest)
        tree = self.tree(name)
        if tree is None or not tree.whole:
            return [self.tree_key(name)]
        root = self.tree_root(name)
        found = {stat.key: (stat.size, stat.etag) for stat in self.store.list(root)}
        return [file.path for file in tree.files if found.get(root + file.path) != (file.size, file.etag)]

    def claims(self, owner: str | None = None) -> list[Claim]:
        """Return the claims of one owner, or of all."""
        folder = f"{self.prefix}/.owners/"
        keys = [stat.key for stat in self.store.list(folder) if owner is None or stat.key.rsplit("/", 1)[-1] == owner]
        found = []
        for key, content in zip(keys, in_parallel(self.store.get_bytes, keys), strict=True):
            digest, of = key.removeprefix(folder).split("/", 1)
            if content is not None and DIGEST.match(digest):
                found.append(Claim.load(digest, of, content))
        return found

    def history(self) -> list[Manifest]:
        """Return the releases that this owner uses or keeps for rollback, newest first."""
        claims = sorted(self.claims(self.owner), key=lambda claim: -claim.turn)
        return [manifest for manifest in in_parallel(self.manifest, [claim.digest for claim in claims]) if manifest is not None]

    def mark_incomplete(self, name: str) -> None:
        """Mark a tree as incomplete in its description."""
        tree = self.tree(name)
        if tree is not None and tree.whole:
            self.store.put_bytes(self.tree_key(name), replace(tree, whole=False).dump())
