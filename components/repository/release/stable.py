"""The stable prefix of the modes poll and explicit: each release is copied to it within the store."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from components.base.errors import FleetError
from components.repository.release.layout import StoredFile, tree_name
from components.repository.release.reader import Reader
from components.repository.store.objects import Stat, in_parallel

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


class StablePrefix(Reader):
    """See `release.Catalog`."""

    @property
    def live_root(self) -> str:
        """The stable prefix, with its slash."""
        return f"{self.prefix}/live/{self.owner}/"

    @property
    def _record_key(self) -> str:
        return f"{self.prefix}/.live/{self.owner}.json"

    def activate(self, digest: str) -> None:
        """Make the stable prefix match the release.

        Version folders come first, the file that a backend opens last among them, then config.pbtxt. Files that are gone are deleted
        last, each model's config first. After a kill some models are old and some new until the next run; Triton goes on serving what it
        has loaded.

        Raises:
            FleetError: When the store fails.
        """
        manifest = self.manifest(digest)
        if manifest is None:
            raise FleetError(f"triton-fleet:repository: release {digest[:12]} does not exist: it can't be made live. Run again.")
        trees = in_parallel(lambda item: self.tree(tree_name(*item)), sorted(manifest.models.items()))
        wanted: dict[str, tuple[str, StoredFile]] = {
            file.path: (tree.name, file) for tree in trees if tree is not None for file in tree.files
        }
        record = self._load_record()
        found = {stat.key.removeprefix(self.live_root): stat.etag for stat in self.store.list(self.live_root)}
        stale = [path for path, (_, file) in wanted.items() if path not in found or record.get(path) != [file.sha256, found[path]]]
        # Recorded before it is done: a deletion goes by the record.
        self._write_record({**record, **{path: ["", ""] for path in stale if path not in record}})
        for paths in _in_order(stale):
            for path, stat in zip(paths, in_parallel(lambda path: self._copy(*wanted[path]), paths), strict=True):
                record[path] = [wanted[path][1].sha256, stat.etag]
        gone = sorted((path for path in record if path not in wanted), key=lambda path: (not path.endswith("config.pbtxt"), path))
        self.store.delete_many([self.live_root + path for path in gone])
        # Triton (2.51) sees a change by the newest time of a model's files, and a deleted file has none: without a new copy of one file
        # it would go on serving a deleted version.
        touched = {path.split("/", 1)[0] for path in gone}
        signs = {path.split("/", 1)[0]: path for path in sorted(wanted, key=lambda path: path.endswith("/config.pbtxt"))}
        for model in sorted(touched & signs.keys()):
            path = signs[model]
            record[path] = [wanted[path][1].sha256, self._copy(*wanted[path]).etag]
        self._write_record({path: entry for path, entry in record.items() if path in wanted})

    def live_damage(self) -> list[str]:
        """Return paths under the stable prefix that are missing or modified."""
        found = {stat.key.removeprefix(self.live_root): stat.etag for stat in self.store.list(self.live_root)}
        record = self._load_record()
        return [path for path, (_, etag) in sorted(record.items()) if found.get(path) != etag] if record else [self._record_key]

    def deactivate(self) -> None:
        """Delete what `activate` wrote."""
        self.store.delete_many([self.live_root + path for path in self._load_record()])
        self.store.delete_many([self._record_key])

    def _copy(self, tree: str, file: StoredFile) -> Stat:
        origin = Stat(key=self.tree_root(tree) + file.path, size=file.size, etag=file.etag, modified=0.0)
        copied = self.store.copy(origin, self.live_root + file.path)
        if copied is None:
            raise FleetError(
                f"triton-fleet:repository: {self.store.url(origin.key)} is missing or has changed since it was published: {file.path} was "
                "not made live. Run `pulumi refresh`, then `pulumi up`."
            )
        return copied

    def _load_record(self) -> dict[str, list[str]]:
        try:
            entries = json.loads(self.store.get_bytes(self._record_key) or b"{}").items()
            return {str(path): [str(entry[0]), str(entry[1])] for path, entry in entries}
        except (ValueError, TypeError, IndexError, AttributeError):
            return {}

    def _write_record(self, record: Mapping[str, Sequence[str]]) -> None:
        self.store.put_bytes(self._record_key, json.dumps(record, sort_keys=True).encode())


def _in_order(paths: Iterable[str]) -> list[list[str]]:
    """Group paths in the order in which Triton can safely see them appear."""
    steps: list[list[str]] = [[], [], [], []]
    for path in paths:
        parts = path.split("/")
        if len(parts) > 2:  # noqa: PLR2004  # <model>/<version>/...
            steps[1 if len(parts) == 3 and parts[2].startswith("model.") else 0].append(path)  # noqa: PLR2004
        else:
            steps[3 if parts[-1] == "config.pbtxt" else 2].append(path)
    return steps
