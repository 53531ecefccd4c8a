"""The stable repository of the modes poll and explicit: one prefix that each release is copied into, inside of the store."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from components.base.errors import FleetError
from components.repository.layout import Held, tree_name
from components.repository.shelf import Shelf
from components.repository.store.objects import Stat, in_parallel

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from components.repository.publish import Watch


class Live(Shelf):
    """See `release.Releases`."""

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
            if watch is not None:
                watch.transfer.check()
            for path, stat in zip(paths, in_parallel(lambda path: self._copy_live(*wanted[path]), paths), strict=True):
                record[path] = [wanted[path][1].sha256, stat.etag]
        gone = sorted((path for path in record if path not in wanted), key=lambda path: (not path.endswith("config.pbtxt"), path))
        self.store.delete_many([self.live_root + path for path in gone])
        # Triton tells by the newest time of a model's files whether it has changed, and what is deleted has none: without this it would
        # serve a version on that is gone (seen with 2.51).
        touched = {path.split("/", 1)[0] for path in gone}
        signs = {path.split("/", 1)[0]: path for path in sorted(wanted, key=lambda path: path.endswith("/config.pbtxt"))}
        for model in sorted(touched & signs.keys()):
            path = signs[model]
            record[path] = [wanted[path][1].sha256, self._copy_live(*wanted[path]).etag]
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
