"""Publishing: making the store hold a release, sending only what no tree has."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from components.base.errors import FleetError
from components.repository.layout import Held, Manifest, Mark, Tree, tree_name
from components.repository.shelf import Shelf
from components.repository.store.objects import Source, Stat, Transfer, few, in_parallel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from components.repository.scan import Plan, PlannedFile

_GARBAGE_S: Final = 120.0
"""Seconds after which a deletion that does not end is taken for killed."""
PAUSE_S: Final = 1.0
"""Between looks at whether a deletion has ended."""
_ORIGINS: Final = 4
"""Of a model's other trees, so many are looked at for files that need not be sent, the newest first."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a transfer is, for whoever shows it."""

    files: int
    bytes: int
    """Of all that is to be sent."""
    copied: int
    """Files that the store copies by itself from an older release."""


@dataclass
class Watch:
    """Who watches a transfer."""

    begins: Callable[[Progress], None] = lambda _: None
    file_done: Callable[[], None] = lambda: None
    transfer: Transfer = field(default_factory=Transfer)


class Publisher(Shelf):
    """See `release.Releases`."""

    def publish(self, plan: Plan, token: str, watch: Watch | None = None, *, doubt: bool = False) -> None:
        """Make the store hold all of ``plan``, sending only what no tree has, and mark it as used.

        The mark comes first, so that nobody's collection takes a tree away meanwhile; the manifest comes last. ``doubt``: trees are not
        believed to be whole because something says so.

        Raises:
            FleetError: When the store fails, a file changes while it is sent, or the run is cancelled. What has arrived stays and is
                not sent again.
        """
        names = {model: tree_name(model, digest) for model, digest in plan.models.items()}
        before = self.marks(self.owner)
        self._mark(plan.digest, token, tuple(names.values()), before)
        left = self._await_garbage(set(names.values()))
        described = self._described()
        believed = set() if doubt else self._believed(before)
        asked = [
            model for model, name in names.items() if name in described and (name in left or (model, plan.models[model]) not in believed)
        ]
        trees = dict(zip(asked, in_parallel(lambda model: self.tree(names[model]), asked), strict=True))
        wanted: list[str] = []
        for model, name in names.items():
            if model not in trees:
                wanted += [] if name in described else [model]
                continue
            tree = trees[model]
            if tree is not None and tree.digest != plan.models[model]:
                raise FleetError(
                    f"triton-fleet:repository.prefix ({self.prefix}): {self.tree_root(name)} holds another content of {model} than "
                    "its name says: it was not touched. Publish under another prefix."
                )
            if tree is None or not tree.whole or (doubt and self.tree_damage(model, plan.models[model])):
                wanted.append(model)
        if wanted:
            self._send(plan, wanted, described, watch or Watch())
        self.store.delete_many([self.garbage_key(name) for name in left])
        self.store.put_bytes(self.sums_key(plan.digest), plan.sums)
        if self.manifest(plan.digest) is None:
            manifest = Manifest(digest=plan.digest, models=dict(plan.models), created=round(time.time(), 3))
            self.store.put_bytes(self.manifest_key(plan.digest), manifest.dump())

    def adopt(self, digest: str, token: str) -> None:
        """Mark a release that is there as used: a roll back.

        Raises:
            FleetError: When it is not there, or not whole any more.
        """
        manifest = self.manifest(digest)
        if manifest is not None:
            names = tuple(tree_name(model, of) for model, of in manifest.models.items())
            self._mark(digest, token, names, self.marks(self.owner))
            # What a killed deletion has left of a tree is looked at below.
            self.store.delete_many([self.garbage_key(name) for name in self._await_garbage(set(names))])
        damage = self.damage(digest)
        if damage is None or damage:
            what = "is not there any more" if damage is None else f"lacks {few(damage)}"
            raise FleetError(
                f"triton-fleet:repository.release ({digest[:12]}) {what} below {self.store.url(self.prefix)}: Triton could not load it, "
                "nothing was changed. Name another release, or leave the key out and publish its models again."
            )

    def _mark(self, digest: str, token: str, trees: tuple[str, ...], before: Sequence[Mark]) -> None:
        turn = 1 + max((mark.turn for mark in before), default=0)
        mark = Mark(digest=digest, owner=self.owner, token=token, turn=turn, kept=False, trees=trees)
        self.store.put_bytes(self.mark_key(digest, self.owner), mark.dump())

    def _await_garbage(self, names: set[str]) -> set[str]:
        """Wait until nobody deletes these trees. Returns those whose deletion was killed: not whole, and still said to be garbage."""
        folder = f"{self.prefix}/.garbage/"
        waited = 0.0
        killed: set[str] = set()
        while True:
            tombs = {stat.key.removeprefix(folder): stat for stat in self.store.list(folder)}
            for name in (tombs.keys() & names) - killed:
                if time.time() - tombs[name].modified > _GARBAGE_S or waited > _GARBAGE_S:
                    # Whoever wrote it is gone. What is left of the tree is compared file by file.
                    self.unmake(name)
                    killed.add(name)
            if not (tombs.keys() & names) - killed:
                return killed
            time.sleep(PAUSE_S)
            waited += PAUSE_S

    def _described(self) -> dict[str, Stat]:
        """Where trees are described, by their names. One that is not has no object here either: descriptions come first and go last."""
        folder = f"{self.prefix}/.trees/"
        there = self.store.list(folder)
        return {stat.key.removeprefix(folder).removesuffix(".json"): stat for stat in there if stat.key.endswith(".json")}

    def _believed(self, marks: Sequence[Mark]) -> set[tuple[str, str]]:
        """Models with their digests whose trees are whole, because a release says so that this owner has kept from being collected."""
        manifests = in_parallel(self.manifest, [mark.digest for mark in marks])
        return {model for manifest in manifests if manifest is not None for model in manifest.models.items()}

    def _send(self, plan: Plan, models: Sequence[str], described: Mapping[str, Stat], watch: Watch) -> None:
        members: dict[str, list[PlannedFile]] = {model: [] for model in models}
        for file in plan.files:
            model = file.path.split("/", 1)[0]
            if model in members:
                members[model].append(file)
        relatives: defaultdict[str, list[Stat]] = defaultdict(list)
        for name, stat in described.items():
            relatives[name.rpartition("-")[0]].append(stat)
        trees = [_Unfinished(model, plan.models[model], files) for model, files in members.items()]
        in_parallel(self._begin_tree, trees)
        prepared = in_parallel(lambda tree: self._prepare(tree, described, relatives[tree.model]), trees)
        work = [item for items in prepared for item in items]
        # The largest first: otherwise the last one keeps everybody waiting.
        work.sort(key=lambda item: -item.file.size)
        sending = [item for item in work if item.origin is None]
        watch.begins(Progress(files=len(sending), bytes=sum(item.file.size for item in sending), copied=len(work) - len(sending)))
        in_parallel(lambda item: self._send_file(item, watch), work)
        for tree in trees:
            if tree.name in described:
                self.store.abandon(self.tree_root(tree.name))  # what a killed run has left
        in_parallel(self._end_tree, trees)

    def _begin_tree(self, tree: _Unfinished) -> None:
        """Write down what is going to lie there: a collection of what a killed run has left goes by it."""
        self.store.put_bytes(self.tree_key(tree.name), tree.description(whole=False).dump())

    def _prepare(self, tree: _Unfinished, described: Mapping[str, Stat], relatives: Sequence[Stat]) -> list[_Item]:
        """What is missing of a tree, and where the store itself has it."""
        root = self.tree_root(tree.name)
        there = {stat.key: stat for stat in self.store.list(root)} if tree.name in described else {}
        missing = []
        for file in tree.files:
            found = there.get(root + file.path)
            if found is not None and self.store.holds(found, _source(file)):
                tree.etags[file.path] = found.etag
            else:
                missing.append(file)
        origins = self._origins(tree, relatives) if missing else {}
        return [
            _Item(tree=tree, file=file, key=root + file.path, origin=origins.get((file.sha256, file.size)) if file.size else None)
            for file in missing
        ]

    def _origins(self, tree: _Unfinished, relatives: Iterable[Stat]) -> dict[tuple[str, int], Stat]:
        """Objects of the model's other trees by content, the newest tree's where several have it."""
        for stat in sorted(relatives, key=lambda stat: -stat.modified)[:_ORIGINS]:
            other = Tree.load(self.store.get_bytes(stat.key))
            if other is not None and other.whole and other.model == tree.model and other.digest != tree.digest:
                root = self.tree_root(other.name)
                return {
                    (file.sha256, file.size): Stat(key=root + file.path, size=file.size, etag=file.etag, modified=0.0)
                    for file in other.files
                }
        return {}

    def _send_file(self, item: _Item, watch: Watch) -> None:
        watch.transfer.check()
        made = None if item.origin is None else self.store.copy(item.origin, item.key)
        if made is None:
            source = _source(item.file)
            made = self.store.put_bytes(item.key, b"") if source is None else self.store.put_file(item.key, source, watch.transfer)
            watch.file_done()
        item.tree.etags[item.file.path] = made.etag

    def _end_tree(self, tree: _Unfinished) -> None:
        """Say that all has arrived: the store has compared each file, and shows what it has taken from then on."""
        self.store.put_bytes(self.tree_key(tree.name), tree.description(whole=True).dump())


@dataclass(frozen=True)
class _Unfinished:
    """A tree that is being sent."""

    model: str
    digest: str
    files: Sequence[PlannedFile]
    etags: dict[str, str] = field(default_factory=dict)
    """Of the files that are in the store, by path."""

    @property
    def name(self) -> str:
        return tree_name(self.model, self.digest)

    def description(self, *, whole: bool) -> Tree:
        etags = self.etags if whole else {file.path: "" for file in self.files}
        held = (Held(path=file.path, size=file.size, sha256=file.sha256, etag=etags[file.path]) for file in self.files)
        return Tree(model=self.model, digest=self.digest, whole=whole, files=tuple(held))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Item:
    """A file that is missing in the store."""

    tree: _Unfinished
    file: PlannedFile
    key: str
    origin: Stat | None
    """An object of the same content."""


def _source(file: PlannedFile) -> Source | None:
    if file.source is None:
        return None
    return Source(path=Path(file.source), size=file.size, sha256=file.sha256, crc32c=file.crc32c, modified_ns=file.modified_ns)
