"""Publishes releases and uploads only files that are not in the store yet."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from components.base.errors import FleetError
from components.repository.release.layout import Claim, Manifest, StoredFile, Tree, tree_name
from components.repository.release.reader import Reader
from components.repository.scan.plan import parse_sums
from components.repository.scan.plan import plan as plan_of
from components.repository.store.objects import Source, Stat, few, in_parallel

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from components.repository.scan.plan import Plan, PlannedFile

    Subsets = Sequence[Collection[str]]

_GARBAGE_S: Final = 120.0
"""Seconds after which an unfinished deletion is considered killed."""
PAUSE_S: Final = 1.0
"""Seconds between checks whether a deletion has finished."""
_ORIGINS: Final = 4
"""Number of a model's other trees, newest first, that are searched for files that the store can copy."""


class Progress:
    """Receives the progress of a transfer. Called from several threads."""

    def begins(self, files: int, size: int, copied: int) -> None:
        """The upload starts: ``files`` files of ``size`` bytes in total are sent, and ``copied`` more are copied within the store."""

    def file_done(self) -> None:
        """One file has been uploaded."""

    def sent(self, count: int) -> None:
        """``count`` more bytes were sent; negative if bytes must be sent again."""


class Publisher(Reader):
    """See `release.Catalog`."""

    def publish(self, plan: Plan, token: str, progress: Progress | None = None, *, doubt: bool = False, subsets: Subsets = ()) -> None:
        """Upload everything in ``plan`` that is missing and claim the release. ``subsets``: names of the models of each deployment.

        The claim is written first, so that no garbage collection deletes a tree during the upload; the manifest is written last. With
        ``doubt``, check every tree, even those of releases that this owner has published.

        Raises:
            FleetError: The store fails, or a file changes during the upload. Uploaded files are kept and not sent again.
        """
        names = {model: tree_name(model, digest) for model, digest in plan.models.items()}
        before = self.claims(self.owner)
        lists = _lists(plan, subsets)
        self._claim(plan.digest, token, tuple(names.values()), before, lists)
        killed = self._await_garbage(set(names.values()))
        described = self.described()
        trusted = set() if doubt else self._trusted(before)
        unsure = [
            model for model, name in names.items() if name in described and (name in killed or (model, plan.models[model]) not in trusted)
        ]
        trees = dict(zip(unsure, in_parallel(lambda model: self.tree(names[model]), unsure), strict=True))
        missing: list[str] = []
        for model, name in names.items():
            if model not in trees:
                missing += [] if name in described else [model]
                continue
            tree = trees[model]
            if tree is not None and tree.digest != plan.models[model]:
                raise FleetError(
                    f"triton-fleet:repository.prefix ({self.prefix}): {self.tree_root(name)} holds other content of {model} than its name "
                    "says: it was not changed. Publish under another prefix."
                )
            if tree is None or not tree.whole or (doubt and self.tree_damage(model, plan.models[model])):
                missing.append(model)
        if missing:
            self._send(plan, missing, described, progress or Progress())
        self.store.delete_many([self.garbage_key(name) for name in killed])
        self._put_lists({**lists, plan.digest: plan.sums})
        if self.manifest(plan.digest) is None:
            manifest = Manifest(digest=plan.digest, models=dict(plan.models), created=round(time.time(), 3))
            self.store.put_bytes(self.manifest_key(plan.digest), manifest.dump())

    def adopt(self, digest: str, token: str, subsets: Subsets = ()) -> None:
        """Claim a release that is already in the store, to roll back to it. ``subsets``: as in `publish`.

        Raises:
            FleetError: The release does not exist or is damaged.
        """
        manifest = self.manifest(digest)
        if manifest is not None:
            names = tuple(tree_name(model, of) for model, of in manifest.models.items())
            lists = _lists(plan_of(parse_sums(self.store.get_bytes(self.sums_key(digest)) or b"")), subsets)
            self._claim(digest, token, names, self.claims(self.owner), lists)
            self._put_lists(lists)
            # What a killed deletion has left is checked below.
            self.store.delete_many([self.garbage_key(name) for name in self._await_garbage(set(names))])
        damage = self.damage(digest)
        if damage is None or damage:
            what = "no longer exists" if damage is None else f"is missing {few(damage)}"
            raise FleetError(
                f"triton-fleet:repository.release ({digest[:12]}) {what} below {self.store.url(self.prefix)}: Triton could not load it, "
                "nothing was changed. Name another release, or leave the key out and publish its models again."
            )

    def _claim(self, digest: str, token: str, trees: tuple[str, ...], before: Sequence[Claim], lists: Iterable[str]) -> None:
        turn = 1 + max((claim.turn for claim in before), default=0)
        claim = Claim(digest=digest, owner=self.owner, token=token, turn=turn, kept=False, trees=trees, subsets=tuple(lists))
        self.store.put_bytes(self.claim_key(digest, self.owner), claim.dump())

    def _put_lists(self, lists: Mapping[str, bytes]) -> None:
        for digest, sums in lists.items():
            self.store.put_bytes(self.sums_key(digest), sums)

    def _await_garbage(self, names: set[str]) -> set[str]:
        """Wait until none of these trees is being deleted. Returns those whose deletion was killed, which still have a marker."""
        folder = f"{self.prefix}/.garbage/"
        waited = 0.0
        killed: set[str] = set()
        while True:
            markers = {stat.key.removeprefix(folder): stat for stat in self.store.list(folder)}
            for name in (markers.keys() & names) - killed:
                if time.time() - markers[name].modified > _GARBAGE_S or waited > _GARBAGE_S:
                    self.mark_incomplete(name)  # what is left of it is compared file by file
                    killed.add(name)
            if not (markers.keys() & names) - killed:
                return killed
            time.sleep(PAUSE_S)
            waited += PAUSE_S

    def _trusted(self, claims: Sequence[Claim]) -> set[tuple[str, str]]:
        """Return the models (with digests) of releases that this owner claims: their trees are complete and not garbage-collected."""
        manifests = in_parallel(self.manifest, [claim.digest for claim in claims])
        return {model for manifest in manifests if manifest is not None for model in manifest.models.items()}

    def _send(self, plan: Plan, models: Sequence[str], described: Mapping[str, Stat], progress: Progress) -> None:
        members: dict[str, list[PlannedFile]] = {model: [] for model in models}
        for file in plan.files:
            model = file.path.split("/", 1)[0]
            if model in members:
                members[model].append(file)
        relatives: defaultdict[str, list[Stat]] = defaultdict(list)
        for name, stat in described.items():
            relatives[name.rpartition("-")[0]].append(stat)
        trees = [_Unfinished(model, plan.models[model], files) for model, files in members.items()]
        # A collection of what a killed run has left goes by the description.
        in_parallel(lambda tree: self.store.put_bytes(self.tree_key(tree.name), tree.description(whole=False).dump()), trees)
        prepared = in_parallel(lambda tree: self._prepare(tree, described, relatives[tree.model]), trees)
        # The largest first, so that the last file is a small one.
        work = sorted((item for items in prepared for item in items), key=lambda item: -item.file.size)
        sending = [item for item in work if item.origin is None]
        progress.begins(len(sending), sum(item.file.size for item in sending), len(work) - len(sending))
        in_parallel(lambda item: self._send_file(item, progress), work)
        for tree in trees:
            if tree.name in described:
                self.store.abandon(self.tree_root(tree.name))  # what a killed run has left
        in_parallel(self._finish, trees)

    def _finish(self, tree: _Unfinished) -> None:
        self.store.put_bytes(self.tree_key(tree.name), tree.description(whole=True).dump())

    def _prepare(self, tree: _Unfinished, described: Mapping[str, Stat], relatives: Sequence[Stat]) -> list[_Item]:
        """Return the files that are missing from a tree, and objects that the store can copy."""
        root = self.tree_root(tree.name)
        found = {stat.key: stat for stat in self.store.list(root)} if tree.name in described else {}
        missing = []
        for file in tree.files:
            stat = found.get(root + file.path)
            if stat is not None and self.store.holds(stat, _source(file)):
                tree.etags[file.path] = stat.etag
            else:
                missing.append(file)
        origins = self._origins(tree, relatives) if missing else {}
        return [
            _Item(tree=tree, file=file, key=root + file.path, origin=origins.get((file.sha256, file.size)) if file.size else None)
            for file in missing
        ]

    def _origins(self, tree: _Unfinished, relatives: Iterable[Stat]) -> dict[tuple[str, int], Stat]:
        """Map SHA-256 and size to objects in the newest other trees of the model."""
        for stat in sorted(relatives, key=lambda stat: -stat.modified)[:_ORIGINS]:
            other = Tree.load(self.store.get_bytes(stat.key))
            if other is not None and other.whole and other.model == tree.model and other.digest != tree.digest:
                root = self.tree_root(other.name)
                return {
                    (file.sha256, file.size): Stat(key=root + file.path, size=file.size, etag=file.etag, modified=0.0)
                    for file in other.files
                }
        return {}

    def _send_file(self, item: _Item, progress: Progress) -> None:
        written = None if item.origin is None else self.store.copy(item.origin, item.key)
        if written is None:
            source = _source(item.file)
            written = self.store.put_bytes(item.key, b"") if source is None else self.store.put_file(item.key, source, progress.sent)
            progress.file_done()
        item.tree.etags[item.file.path] = written.etag


@dataclass(frozen=True)
class _Unfinished:
    """A tree that is being uploaded."""

    model: str
    digest: str
    files: Sequence[PlannedFile]
    etags: dict[str, str] = field(default_factory=dict)
    """ETags of the files that are already in the store, by path."""

    @property
    def name(self) -> str:
        return tree_name(self.model, self.digest)

    def description(self, *, whole: bool) -> Tree:
        files = tuple(
            StoredFile(path=file.path, size=file.size, sha256=file.sha256, etag=self.etags[file.path] if whole else "")
            for file in self.files
        )
        return Tree(model=self.model, digest=self.digest, whole=whole, files=files)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Item:
    """A file that is missing from the store."""

    tree: _Unfinished
    file: PlannedFile
    key: str
    origin: Stat | None
    """An object with the same content."""


def _lists(plan: Plan, subsets: Subsets) -> dict[str, bytes]:
    parts = [plan.subset(models) for models in subsets]
    return {part.digest: part.sums for part in parts}


def _source(file: PlannedFile) -> Source | None:
    if file.source is None:
        return None
    return Source(path=Path(file.source), size=file.size, sha256=file.sha256, crc32c=file.crc32c, modified_ns=file.modified_ns)
