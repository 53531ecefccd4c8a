"""Releases in an object store: whole or absent, shared, kept, rolled back to, collected. Knows nothing of Pulumi or of any one store.

Layout below the prefix:

    models/<model>-<digest16>/<model>/<version>/...   a tree: one model as it was, never changed once written. Triton's repository
    .trees/<model>-<digest16>.json                    what belongs to the tree; says whether it is whole
    .manifests/<digest>.json                          a release: which trees. Its presence says that all of them are whole
    .manifests/<digest>.sums                          "sha256 size path" of each file; the digest is the SHA-256 of this object
    .owners/<digest>/<owner>                          a mark: this owner uses the release, or keeps it to roll back to
    .garbage/<model>-<digest16>                       the tree is being deleted
    live/<owner>/<model>/...                          modes poll and explicit: the one repository that Triton reads
    .live/<owner>.json                                what `live/<owner>/` was made of

Safe to kill at any moment and to run again. Two owners may publish and collect at the same time: who publishes first marks, then looks for
garbage; who collects first says what is garbage, then looks at the marks again. One of the two sees the other.
"""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from components.errors import FleetError
from components.repository.objectstore import PARALLEL, Source, Stat, Transfer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from components.repository.objectstore import ObjectStore
    from components.repository.scan import Plan, PlannedFile

T = TypeVar("T")
R = TypeVar("R")

FORMAT: Final = 2
_DIGITS: Final = 16
"""Hex digits of a model's digest in the name of its tree: 64 bits, and the whole digest is compared before a tree is used."""
_GARBAGE_S: Final = 120.0
"""Seconds after which a deletion that does not end is taken for killed."""
PAUSE_S: Final = 1.0
"""Between looks at whether a deletion has ended."""
_DIGEST: Final = re.compile(r"^[0-9a-f]{64}\Z")


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


class Releases:
    """All releases below one prefix of one bucket, as one owner sees them."""

    def __init__(self, store: ObjectStore, prefix: str, owner: str) -> None:
        self.store = store
        self.prefix = prefix
        self.owner = owner

    # --- keys ---

    def tree_root(self, name: str) -> str:
        """Prefix of a tree's files, with its slash."""
        return f"{self.prefix}/models/{name}/"

    def _tree_key(self, name: str) -> str:
        return f"{self.prefix}/.trees/{name}.json"

    def _garbage_key(self, name: str) -> str:
        return f"{self.prefix}/.garbage/{name}"

    def manifest_key(self, digest: str) -> str:
        """Key of a release's manifest."""
        return f"{self.prefix}/.manifests/{digest}.json"

    def sums_key(self, digest: str) -> str:
        """Key of the list of a release's files."""
        return f"{self.prefix}/.manifests/{digest}.sums"

    def _mark_key(self, digest: str, owner: str) -> str:
        return f"{self.prefix}/.owners/{digest}/{owner}"

    # --- reading ---

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
        return Tree.load(self.store.get_bytes(self._tree_key(name)))

    def damage(self, digest: str) -> list[str] | None:
        """Paths that are missing or not what was published; None when nothing says that the release is there."""
        manifest = self.manifest(digest)
        if manifest is None:
            return None
        found = in_parallel(lambda model: self._tree_damage(*model), sorted(manifest.models.items()))
        damage = [path for paths in found for path in paths]
        if self.store.head(self.sums_key(digest)) is None:
            damage.append(self.sums_key(digest))
        return damage

    def _tree_damage(self, model: str, digest: str) -> list[str]:
        name = tree_name(model, digest)
        tree = self.tree(name)
        if tree is None or not tree.whole:
            return [self._tree_key(name)]
        root = self.tree_root(name)
        there = {stat.key: (stat.size, stat.etag) for stat in self.store.list(root)}
        return [file.path for file in tree.files if there.get(root + file.path) != (file.size, file.etag)]

    # --- publishing ---

    def publish(self, plan: Plan, token: str, watch: Watch | None = None, *, doubt: bool = False) -> None:
        """Make the store hold all of ``plan``, sending only what no tree has, and mark it as used.

        The mark comes first, so that nobody's collection takes a tree away meanwhile; the manifest comes last. ``doubt``: trees are not
        believed to be whole because they say so.

        Raises:
            FleetError: When the store fails, a file changes while it is sent, or the run is cancelled. What has arrived stays and is
                not sent again.
        """
        watch = watch or Watch()
        names = {model: tree_name(model, digest) for model, digest in plan.models.items()}
        self._mark(plan.digest, token, tuple(names.values()))
        self._await_garbage(set(names.values()))
        trees = dict(zip(names, in_parallel(self.tree, names.values()), strict=True))
        for model, tree in trees.items():
            if tree is not None and tree.digest != plan.models[model]:
                raise FleetError(
                    f"triton-fleet:repository.prefix ({self.prefix}): {self.tree_root(names[model])} holds another content of {model} than "
                    "its name says: it was not touched. Publish under another prefix."
                )
        wanted = {
            model
            for model, tree in trees.items()
            if tree is None or not tree.whole or (doubt and self._tree_damage(model, plan.models[model]))
        }
        if wanted:
            self._send(plan, wanted, watch)
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
            self._mark(digest, token, tuple(tree_name(model, of) for model, of in manifest.models.items()))
            self._await_garbage({tree_name(model, of) for model, of in manifest.models.items()})
        damage = self.damage(digest)
        if damage is None or damage:
            what = "is not there any more" if damage is None else f"lacks {few(damage)}"
            raise FleetError(
                f"triton-fleet:repository.release ({digest[:12]}) {what} below {self.store.url(self.prefix)}: Triton could not load it, "
                "nothing was changed. Name another release, or leave the key out and publish its models again."
            )

    def _mark(self, digest: str, token: str, trees: tuple[str, ...]) -> None:
        turn = 1 + max((mark.turn for mark in self.marks(self.owner)), default=0)
        mark = Mark(digest=digest, owner=self.owner, token=token, turn=turn, kept=False, trees=trees)
        self.store.put_bytes(self._mark_key(digest, self.owner), mark.dump())

    def _await_garbage(self, names: set[str]) -> None:
        """Wait until nobody deletes these trees any more."""
        folder = f"{self.prefix}/.garbage/"
        waited = 0.0
        while tombs := {stat.key.removeprefix(folder): stat for stat in self.store.list(folder) if stat.key.removeprefix(folder) in names}:
            for name, tomb in tombs.items():
                if time.time() - tomb.modified > _GARBAGE_S or waited > _GARBAGE_S:
                    # Whoever wrote it is gone. What is left of the tree is compared file by file.
                    self._unmake(name)
                    self.store.delete_many([tomb.key])
            time.sleep(PAUSE_S)
            waited += PAUSE_S

    def _unmake(self, name: str) -> None:
        """Say that a tree is not whole."""
        tree = self.tree(name)
        if tree is not None and tree.whole:
            self.store.put_bytes(self._tree_key(name), Tree(model=tree.model, digest=tree.digest, whole=False, files=tree.files).dump())

    def _send(self, plan: Plan, models: set[str], watch: Watch) -> None:
        members: dict[str, list[PlannedFile]] = {model: [] for model in models}
        for file in plan.files:
            model = file.path.split("/", 1)[0]
            if model in members:
                members[model].append(file)
        in_parallel(lambda item: self._begin_tree(plan, *item), members.items())
        prepared = in_parallel(lambda item: self._prepare(plan, *item), members.items())
        work = [item for items in prepared for item in items]
        # The largest first: otherwise the last one keeps everybody waiting.
        work.sort(key=lambda item: -item.file.size)
        sending = [item for item in work if item.origin is None]
        watch.begins(Progress(files=len(sending), bytes=sum(item.file.size for item in sending), copied=len(work) - len(sending)))
        in_parallel(lambda item: self._send_file(item, watch), work)
        in_parallel(lambda item: self._end_tree(plan, *item), members.items())

    def _begin_tree(self, plan: Plan, model: str, files: Sequence[PlannedFile]) -> None:
        """Write down what is going to lie there: a collection of what a killed run has left goes by it."""
        held = tuple(Held(path=file.path, size=file.size, sha256=file.sha256, etag="") for file in files)
        tree = Tree(model=model, digest=plan.models[model], whole=False, files=held)
        self.store.put_bytes(self._tree_key(tree.name), tree.dump())

    def _prepare(self, plan: Plan, model: str, files: Sequence[PlannedFile]) -> list[_Item]:
        """What is missing of a tree, and where the store itself has it."""
        root = self.tree_root(tree_name(model, plan.models[model]))
        there = {stat.key: stat for stat in self.store.list(root)}
        missing = [file for file in files if (found := there.get(root + file.path)) is None or not self.store.holds(found, _source(file))]
        if not missing:
            return []
        origins = self._origins(model, plan.models[model])
        return [
            _Item(file=file, key=root + file.path, origin=origins.get((file.sha256, file.size)) if file.size else None) for file in missing
        ]

    def _origins(self, model: str, digest: str) -> dict[tuple[str, int], Stat]:
        """Objects of the model's other trees by content, the newest tree's where several have it."""
        listed = [stat for stat in self.store.list(f"{self.prefix}/.trees/{model}-") if _names(stat.key, model)]
        for stat in sorted(listed, key=lambda stat: -stat.modified)[:4]:
            tree = Tree.load(self.store.get_bytes(stat.key))
            if tree is not None and tree.whole and tree.model == model and tree.digest != digest:
                root = self.tree_root(tree.name)
                return {
                    (file.sha256, file.size): Stat(key=root + file.path, size=file.size, etag=file.etag, modified=0.0)
                    for file in tree.files
                }
        return {}

    def _send_file(self, item: _Item, watch: Watch) -> None:
        watch.transfer.check()
        if item.origin is None or self.store.copy(item.origin, item.key) is None:
            source = _source(item.file)
            if source is None:
                self.store.put_bytes(item.key, b"")
            else:
                self.store.put_file(item.key, source, watch.transfer)
            watch.file_done()

    def _end_tree(self, plan: Plan, model: str, files: Sequence[PlannedFile]) -> None:
        """See that all has arrived, and say so."""
        name = tree_name(model, plan.models[model])
        root = self.tree_root(name)
        there = {stat.key: stat for stat in self.store.list(root)}
        absent = [file.path for file in files if (found := there.get(root + file.path)) is None or found.size != file.size]
        if absent:
            raise FleetError(
                f"triton-fleet:repository.bucket ({self.store.bucket}) lacks {few(absent)} right after the upload: the release is not "
                "whole and was not published. Something else deletes below the prefix: stop it, then run again."
            )
        held = tuple(Held(path=file.path, size=file.size, sha256=file.sha256, etag=there[root + file.path].etag) for file in files)
        self.store.put_bytes(self._tree_key(name), Tree(model=model, digest=plan.models[model], whole=True, files=held).dump())

    # --- the stable prefix of the modes poll and explicit ---

    @property
    def live_root(self) -> str:
        """Prefix of the stable repository, with its slash."""
        return f"{self.prefix}/live/{self.owner}/"

    @property
    def _live_key(self) -> str:
        return f"{self.prefix}/.live/{self.owner}.json"

    def activate(self, digest: str, watch: Watch | None = None) -> None:
        """Bring the stable repository to what the release holds, by copies inside of the store: no upload can fail half way here.

        Version folders come first, the file that a backend opens last among them, then config.pbtxt; what is gone goes last, each model's
        config first. A kill leaves some models old and some new, the next run finishes; what Triton has loaded it serves on.

        Raises:
            FleetError: When the store fails.
        """
        transfer = (watch or Watch()).transfer
        manifest = self.manifest(digest)
        if manifest is None:
            raise FleetError(f"triton-fleet:repository: release {digest[:12]} is not there: it can't be made live. Run again.")
        trees = in_parallel(lambda item: self.tree(tree_name(*item)), sorted(manifest.models.items()))
        wanted: dict[str, tuple[str, Held]] = {file.path: (tree.name, file) for tree in trees if tree is not None for file in tree.files}
        record = self._live_record()
        there = {stat.key.removeprefix(self.live_root): stat.etag for stat in self.store.list(self.live_root)}
        stale = [path for path, (_, file) in wanted.items() if path not in there or record.get(path) != [file.sha256, there[path]]]
        # Said before it is done: a deletion goes by it.
        self._write_record({**record, **{path: ["", ""] for path in stale if path not in record}})
        for _, paths in _in_order(stale):
            transfer.check()
            for path, stat in zip(paths, in_parallel(lambda path: self._copy_live(*wanted[path]), paths), strict=True):
                record[path] = [wanted[path][1].sha256, stat.etag]
        gone = sorted((path for path in record if path not in wanted), key=lambda path: (not path.endswith("config.pbtxt"), path))
        self.store.delete_many([self.live_root + path for path in gone])
        self._write_record({path: entry for path, entry in record.items() if path in wanted})

    def live_damage(self) -> list[str]:
        """Paths of the stable repository that are missing or not what was put there."""
        there = {stat.key.removeprefix(self.live_root): stat.etag for stat in self.store.list(self.live_root)}
        record = self._live_record()
        return [path for path, (_, etag) in sorted(record.items()) if there.get(path) != etag] if record else [self._live_key]

    def deactivate(self) -> None:
        """Take the stable repository away: only what `activate` put there."""
        record = self._live_record()
        self.store.delete_many([self.live_root + path for path in record])
        self.store.delete_many([self._live_key])

    def _copy_live(self, tree: str, file: Held) -> Stat:
        origin = Stat(key=self.tree_root(tree) + file.path, size=file.size, etag=file.etag, modified=0.0)
        made = self.store.copy(origin, self.live_root + file.path)
        if made is None:
            raise FleetError(
                f"triton-fleet:repository: {self.store.url(origin.key)} vanished or changed since it was published: {file.path} was not "
                "made live. Run `pulumi refresh`, then `pulumi up`."
            )
        return made

    def _live_record(self) -> dict[str, list[str]]:
        try:
            return {
                str(path): [str(entry[0]), str(entry[1])]
                for path, entry in json.loads(self.store.get_bytes(self._live_key) or b"{}").items()
            }
        except (ValueError, TypeError, IndexError, AttributeError):
            return {}

    def _write_record(self, record: Mapping[str, Sequence[str]]) -> None:
        self.store.put_bytes(self._live_key, json.dumps(record, sort_keys=True).encode())

    # --- going away ---

    def marks(self, owner: str | None = None) -> list[Mark]:
        """Marks of one owner, or of all."""
        keys = [stat.key for stat in self.store.list(f"{self.prefix}/.owners/")]
        if owner is not None:
            keys = [key for key in keys if key.rsplit("/", 1)[-1] == owner]
        found = []
        for key, content in zip(keys, in_parallel(self.store.get_bytes, keys), strict=True):
            digest, of = key.removeprefix(f"{self.prefix}/.owners/").split("/", 1)
            if content is not None and _DIGEST.match(digest):
                found.append(_load_mark(digest, of, content))
        return found

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
            self.store.put_bytes(self._mark_key(digest, self.owner), kept.dump())
        else:
            self.store.delete_many([self._mark_key(mark, self.owner) for mark in marks])
        self.collect(keep)

    def disown(self, digest: str, owner: str) -> None:
        """Take another name's mark of a release away: the stack was renamed."""
        self.store.delete_many([self._mark_key(digest, owner)])

    def collect(self, keep: int) -> None:
        """Delete what nobody uses or keeps: of this owner's old releases all but ``keep``, then releases and trees without any mark.

        Only objects that a tree's description names, and only as they were published: never anything that was not uploaded here.
        """
        mine = sorted(self.marks(self.owner), key=lambda mark: -mark.turn)
        newest = mine[0].turn if mine else 0
        old = [mark for mark in mine if mark.kept]
        # A run that was killed, and that no later run came back for.
        dead = [mark for mark in mine if not mark.kept and mark.turn < newest and self.manifest(mark.digest) is None]
        self.store.delete_many([self._mark_key(mark.digest, self.owner) for mark in (*old[keep:], *dead)])
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
        tomb = self._garbage_key(name)
        self.store.put_bytes(tomb, b"")
        if any(name in mark.trees for mark in self.marks()):
            self.store.delete_many([tomb])
            return
        self._unmake(name)
        root = self.tree_root(name)
        planned = {root + file.path: file for file in tree.files}
        ours = [
            stat.key
            for stat in self.store.list(root)
            if (file := planned.get(stat.key)) is not None and stat.size == file.size and file.etag in {"", stat.etag}
        ]
        self.store.delete_many(ours)
        self.store.abandon(root)
        self.store.delete_many([self._tree_key(name)])
        self.store.delete_many([tomb])


@dataclass(frozen=True, kw_only=True)
class _Item:
    """A file that is missing in the store."""

    file: PlannedFile
    key: str
    origin: Stat | None
    """An object of the same content."""


def _names(key: str, model: str) -> bool:
    """Whether a tree's key is one of the model: other models' names may begin with its name and a hyphen."""
    name = key.rsplit("/", 1)[-1].removesuffix(".json")
    return name[: -_DIGITS - 1] == model


def _source(file: PlannedFile) -> Source | None:
    if file.source is None:
        return None
    return Source(path=file.source, size=file.size, sha256=file.sha256, modified_ns=file.modified_ns)


def _in_order(paths: Iterable[str]) -> list[tuple[int, list[str]]]:
    """Paths of a repository in the order in which Triton may see them appear."""
    steps: dict[int, list[str]] = {}
    for path in paths:
        parts = path.split("/")
        if len(parts) > 2:  # noqa: PLR2004  # <model>/<version>/...
            step = 1 if len(parts) == 3 and parts[2].startswith("model.") else 0  # noqa: PLR2004
        else:
            step = 3 if parts[-1] == "config.pbtxt" else 2
        steps.setdefault(step, []).append(path)
    return sorted(steps.items())


def _load_mark(digest: str, owner: str, content: bytes) -> Mark:
    """A mark; one that can't be read keeps its release, whoever wrote it."""
    try:
        data = json.loads(content)
        return Mark(
            digest=digest,
            owner=owner,
            token=str(data["token"]),
            turn=int(data["turn"]),
            kept=data["kept"] is True,
            trees=tuple(str(tree) for tree in data["trees"]),
        )
    except (ValueError, KeyError, TypeError):
        return Mark(digest=digest, owner=owner, token="", turn=0, kept=False, trees=())


def in_parallel(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Results of ``work`` in the order of ``items``. The first failure is raised once what has begun is done; the rest is not begun."""
    todo = list(items)
    if len(todo) <= 1:
        return [work(item) for item in todo]
    with ThreadPoolExecutor(max_workers=min(PARALLEL, len(todo)), thread_name_prefix="triton-fleet-store") as pool:
        futures = [pool.submit(work, item) for item in todo]
        wait(futures, return_when=FIRST_EXCEPTION)
        failed = next((future for future in futures if future.done() and not future.cancelled() and future.exception() is not None), None)
        if failed is not None:
            for future in futures:
                future.cancel()
            failed.result()
        return [future.result() for future in futures]


def few(names: Sequence[Any], shown: int = 3) -> str:
    """The first of these names, and how many more there are."""
    return ", ".join(str(name) for name in names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")
