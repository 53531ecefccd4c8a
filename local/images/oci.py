"""Write an OCI image layout as one tar, which `ctr images import`, `skopeo` and `docker load` read.

Layers are uncompressed: they are built and imported on the same machine, where reading more bytes from the page cache costs less than
decompressing them on two cores. The archive is written in one pass: a blob's name is its digest, which is known only after its last byte,
so its tar header is left blank and filled in afterwards.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from local.images.tree import Tree

_BLOCK: Final = tarfile.BLOCKSIZE
_INDEX: Final = "application/vnd.oci.image.index.v1+json"
_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
_EPOCH: Final = "1970-01-01T00:00:00Z"
"""Creation time of every image, fixed so that equal inputs give equal images."""


@dataclass(frozen=True, kw_only=True)
class ImageConfig:
    """How a container of the image runs, unless the pod overrides it."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    """User ID, or user:group IDs; empty means root."""
    folder: str = "/"
    ports: tuple[int, ...] = ()
    title: str = ""
    version: str = ""

    def document(self, architecture: str, layers: Sequence[str]) -> dict[str, Any]:
        """Return the image configuration as in the OCI specification; ``layers`` are the digests of the uncompressed layers."""
        run: dict[str, Any] = {"WorkingDir": self.folder, "Env": [f"{name}={value}" for name, value in self.environment.items()]}
        if self.entrypoint:
            run["Entrypoint"] = list(self.entrypoint)
        if self.command:
            run["Cmd"] = list(self.command)
        if self.user:
            run["User"] = self.user
        if self.ports:
            run["ExposedPorts"] = {f"{port}/tcp": {} for port in self.ports}
        run["Labels"] = {"org.opencontainers.image.title": self.title, "org.opencontainers.image.version": self.version}
        return {
            "created": _EPOCH,
            "architecture": architecture,
            "os": "linux",
            "config": run,
            "rootfs": {"type": "layers", "diff_ids": list(layers)},
            "history": [{"created": _EPOCH, "created_by": "local/images"} for _ in layers],
        }


class _Hashing:
    """Passes writes on and keeps their digest and size."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self.size += len(data)
        return self._stream.write(data)

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"


class _Archive:
    """The outer tar."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._known: set[str] = set()

    def layer(self, tree: Tree) -> dict[str, Any]:
        """Write ``tree`` as a blob and return its descriptor."""
        start = self._stream.tell()
        self._stream.write(bytes(_BLOCK))
        hashing = _Hashing(self._stream)
        tree.write(cast("IO[bytes]", hashing))
        self._pad(hashing.size)
        end = self._stream.tell()
        self._stream.seek(start)
        self._header(_blob(hashing.digest), hashing.size)
        self._stream.seek(end)
        self._known.add(hashing.digest)
        return {"mediaType": _LAYER, "digest": hashing.digest, "size": hashing.size}

    def blob(self, media_type: str, document: Mapping[str, Any]) -> dict[str, Any]:
        """Write ``document`` as a blob and return its descriptor."""
        data = json.dumps(document, separators=(",", ":"), sort_keys=True).encode()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if digest not in self._known:
            self._known.add(digest)
            self.file(_blob(digest), data)
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def file(self, name: str, data: bytes) -> None:
        """Write a member."""
        self._header(name, len(data))
        self._stream.write(data)
        self._pad(len(data))

    def end(self) -> None:
        """Write the end of the tar."""
        self._stream.write(bytes(2 * _BLOCK))

    def _header(self, name: str, size: int) -> None:
        info = tarfile.TarInfo(name)
        info.size = size
        info.mode = 0o644
        self._stream.write(info.tobuf(tarfile.USTAR_FORMAT))

    def _pad(self, size: int) -> None:
        self._stream.write(bytes(-size % _BLOCK))


def _blob(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def write_image(stream: IO[bytes], *, reference: str, layers: Sequence[Tree], config: ImageConfig, architecture: str) -> str:
    """Write the image ``reference`` (host/name:tag) with these layers, bottom first.

    Args:
        stream: seekable, open for writing.
        reference: the image's full name.
        layers: file systems.
        config: how it runs.
        architecture: the OCI name: amd64, arm64.

    Returns:
        Digest of the manifest, "sha256:...", which container runtimes show as the image's digest.
    """
    archive = _Archive(stream)
    written = [archive.layer(tree) for tree in layers]
    described = archive.blob(_CONFIG, config.document(architecture, [layer["digest"] for layer in written]))
    manifest = archive.blob(_MANIFEST, {"schemaVersion": 2, "mediaType": _MANIFEST, "config": described, "layers": written})
    named = {
        **manifest,
        "platform": {"architecture": architecture, "os": "linux"},
        # containerd reads the first, all other tools the second.
        "annotations": {"io.containerd.image.name": reference, "org.opencontainers.image.ref.name": reference.rpartition(":")[2]},
    }
    index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": [named]}
    archive.file("index.json", json.dumps(index, separators=(",", ":"), sort_keys=True).encode())
    archive.file("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    archive.end()
    return str(manifest["digest"])
