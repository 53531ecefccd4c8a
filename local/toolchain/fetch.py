"""Download publishers' releases over HTTPS and verify each against the publisher's checksum file before it is used."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.client
import json
import re
import tarfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Any, Final

from local.toolchain.errors import ChecksumError, SourceUnavailableError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping
    from pathlib import Path

CONNECT_TIMEOUT_S: Final = 5.0
"""For name resolution and connection; a slower host counts as unreachable."""
READ_TIMEOUT_S: Final = 30.0
"""Longest pause within a download."""
_CHUNK: Final = 1 << 20
_MAX_SMALL_FILE: Final = 4 << 20
_ATTEMPTS: Final = 2
_DIGEST: Final = re.compile(r"^(?:[0-9a-fA-F]{64}|[0-9a-fA-F]{128})$")
_SHA256_LENGTH: Final = 64
_LOOPBACK: Final = {"127.0.0.1", "localhost", "::1"}
_UNAUTHORIZED: Final = 401
_INDEXES: Final = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_MANIFESTS: Final = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")


class _TransientError(SourceUnavailableError):
    """Worth a retry, unlike a missing file or an unreachable host."""


class Fetcher:
    """Fetches files, and remembers unreachable hosts so that only the first attempt at each costs time.

    Args:
        connect_timeout_s: seconds for name resolution and connection.
        read_timeout_s: longest pause within a response, in seconds.
    """

    def __init__(self, connect_timeout_s: float = CONNECT_TIMEOUT_S, read_timeout_s: float = READ_TIMEOUT_S) -> None:
        self._connect_timeout_s = connect_timeout_s
        self._read_timeout_s = read_timeout_s
        self._unreachable: dict[str, str] = {}
        self._answered: set[str] = set()
        self._tokens: dict[str, str] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    def stop(self, *, stopping: bool = True) -> None:
        """Stop running downloads at their next chunk (after an interrupt), or, with ``False``, allow new ones."""
        if stopping:
            self._stopping.set()
        else:
            self._stopping.clear()

    def in_reach(self, urls: Iterable[str]) -> set[str]:
        """Return those of ``urls`` whose hosts answer. Each host is probed once in a process, all in parallel.

        Takes little more than the connection timeout, even if the name server drops queries or a host has many addresses that all drop
        connections.
        """
        urls = set(urls)
        with self._lock:
            unknown = {_host(url): url for url in urls if _host(url) not in self._unreachable and _host(url) not in self._answered}
        threads = {
            host: threading.Thread(target=self._ask, args=(url,), name=f"reach-{host}", daemon=True) for host, url in unknown.items()
        }
        deadline = time.monotonic() + self._connect_timeout_s
        for thread in threads.values():
            thread.start()
        for host, thread in threads.items():
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                with self._lock:
                    self._unreachable.setdefault(host, f"no answer within {self._connect_timeout_s:g} s")
        with self._lock:
            return {url for url in urls if _host(url) not in self._unreachable}

    def verified(self, url: str, checksums: str, folder: Path) -> Path:
        """Download ``url`` into ``folder``, verify it against the checksum file at ``checksums``, and return its path.

        Raises:
            SourceUnavailableError: a host is unreachable, a file is missing, or the download was cut off (twice).
            ChecksumError: the file differs from its publisher's (twice).
            OSError: the file can't be written, as when the disk is full.
        """
        name = PurePosixPath(urllib.parse.urlsplit(url).path).name
        expected = _digest_for(name, self._small(checksums).decode(errors="replace"), checksums)
        return self._twice(url, folder / name, expected)

    def image_layers(self, image: str, architecture: str, folder: Path) -> Generator[Path]:
        """Yield the layers of a container image, topmost first, each downloaded into ``folder`` and verified against its digest.

        Args:
            image: registry, repository and tag, such as ``quay.io/a/b:v1``; a registry on loopback may have ``http://`` in front.
            architecture: Go's name, such as ``amd64``.
            folder: for the layers; the caller may delete each one before it takes the next.

        Raises:
            SourceUnavailableError: the registry is unreachable, or has no such image for Linux on this architecture.
            ChecksumError: a layer or manifest differs from its digest (twice).
            OSError: a layer can't be written.
        """
        scheme, address = image.split("://", 1) if "://" in image else ("https", image)
        host, _, rest = address.partition("/")
        repository, _, tag = rest.rpartition(":")
        base = f"{scheme}://{host}/v2/{repository}"
        accept = ", ".join([*_INDEXES, *_MANIFESTS])
        manifest = self._json(f"{base}/manifests/{tag}", accept)
        if manifest.get("mediaType") in _INDEXES or "manifests" in manifest:
            digests = [
                entry["digest"]
                for entry in manifest["manifests"]
                if entry.get("platform", {}).get("os") == "linux" and entry["platform"].get("architecture") == architecture
            ]
            if not digests:
                raise SourceUnavailableError(f"{image} is not published for Linux on {architecture}")
            manifest = self._json(f"{base}/manifests/{digests[0]}", accept, digest=digests[0])
        for layer in reversed(manifest["layers"]):
            algorithm, _, expected = str(layer["digest"]).partition(":")
            if algorithm != "sha256":
                raise SourceUnavailableError(f"{image} has a layer with an unsupported digest algorithm, {algorithm}")
            yield self._twice(f"{base}/blobs/{layer['digest']}", folder / expected, expected)

    # ------------------------------------------------------------------ requests
    def _ask(self, url: str) -> None:
        with contextlib.suppress(SourceUnavailableError), self._open(url, method="HEAD"):
            pass

    def _twice(self, url: str, target: Path, expected: str) -> Path:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._download(url, target, expected)
            except SourceUnavailableError as error:
                target.unlink(missing_ok=True)
                # A cut connection or a broken proxy is worth a second attempt; an unreachable host or a missing file is not.
                if attempt == _ATTEMPTS or not isinstance(error, _TransientError | ChecksumError):
                    raise
            else:
                break
        return target

    def _download(self, url: str, target: Path, expected: str) -> None:
        digest = hashlib.sha256() if len(expected) == _SHA256_LENGTH else hashlib.sha512()
        received = 0
        with self._open(url) as response, target.open("wb") as stream:
            announced = response.headers.get("Content-Length")
            while chunk := self._read(response, url):
                received += len(chunk)
                digest.update(chunk)
                stream.write(chunk)
        if announced is not None and received != int(announced):
            raise _TransientError(f"{url} ended after {received} of {announced} bytes")
        if digest.hexdigest() != expected:
            raise ChecksumError(
                f"{url} has checksum {digest.hexdigest()[:16]}..., but its publisher lists {expected[:16]}...; it was discarded"
            )

    def _small(self, url: str, accept: str | None = None) -> bytes:
        with self._open(url, accept=accept) as response:
            content = b""
            while chunk := self._read(response, url):
                content += chunk
                if len(content) > _MAX_SMALL_FILE:
                    raise SourceUnavailableError(
                        f"{url} is larger than {_MAX_SMALL_FILE >> 20} MiB: it can't be a checksum file or manifest"
                    )
        return content

    def _json(self, url: str, accept: str, digest: str | None = None) -> dict[str, Any]:
        content = self._small(url, accept)
        if digest is not None and f"sha256:{hashlib.sha256(content).hexdigest()}" != digest:
            raise ChecksumError(f"{url} is not the manifest that its index lists; it was discarded")
        try:
            loaded = json.loads(content)
        except ValueError as error:
            raise SourceUnavailableError(f"{url} did not return JSON") from error
        if not isinstance(loaded, dict):
            raise SourceUnavailableError(f"{url} did not return a manifest")
        return loaded

    def _read(self, response: http.client.HTTPResponse, url: str) -> bytes:
        if self._stopping.is_set():
            raise SourceUnavailableError(f"the download of {url} was cancelled")
        try:
            return response.read(_CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise _TransientError(f"the download of {url} was cut off: {error or type(error).__name__}") from error

    @contextlib.contextmanager
    def _open(self, url: str, *, accept: str | None = None, method: str = "GET") -> Generator[http.client.HTTPResponse]:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
            raise SourceUnavailableError(f"{url} does not use https: its contents can't be trusted")
        host = _host(url)
        with self._lock:
            known = self._unreachable.get(host)
        if known is not None:
            raise SourceUnavailableError(f"{host} is unreachable ({known})")
        try:
            response = self._request(url, accept, method)
        except urllib.error.HTTPError as error:
            error.close()
            with self._lock:
                self._answered.add(host)
            raise SourceUnavailableError(f"{url} returned {error.code} {error.reason}") from error
        except (OSError, http.client.HTTPException) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
            with self._lock:
                self._unreachable[host] = reason
            raise SourceUnavailableError(f"{host} is unreachable ({reason})") from error
        with response:
            with self._lock:
                self._answered.add(host)
            _set_timeout(response, self._read_timeout_s)
            yield response

    def _request(self, url: str, accept: str | None, method: str) -> http.client.HTTPResponse:
        try:
            return self._send(url, accept, method)
        except urllib.error.HTTPError as error:
            challenge = error.headers.get("WWW-Authenticate", "")
            if error.code != _UNAUTHORIZED or not challenge.lower().startswith("bearer ") or method != "GET":
                raise
            error.close()
        # A public registry: it issues a token to anonymous clients, on request.
        fields = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        query = urllib.parse.urlencode({key: fields[key] for key in ("service", "scope") if key in fields})
        answer = self._json(f"{fields.get('realm', '')}?{query}", "application/json")
        with self._lock:
            self._tokens[_repository(url)] = str(answer.get("token") or answer.get("access_token") or "")
        return self._send(url, accept, method)

    def _send(self, url: str, accept: str | None, method: str) -> http.client.HTTPResponse:
        request = urllib.request.Request(  # noqa: S310 (the scheme was checked by _open)
            url, headers={"User-Agent": "triton-fleet-toolchain", **({"Accept": accept} if accept else {})}, method=method
        )
        with self._lock:
            token = self._tokens.get(_repository(url))
        if token:
            request.add_unredirected_header("Authorization", f"Bearer {token}")  # the registry's storage backend refuses the token
        response = urllib.request.urlopen(request, timeout=self._connect_timeout_s)  # noqa: S310 (the scheme was checked by _open)
        if not isinstance(response, http.client.HTTPResponse):
            raise SourceUnavailableError(f"{url} redirects to an address that is not HTTP")
        return response


def _set_timeout(response: http.client.HTTPResponse, seconds: float) -> None:
    # urlopen has a single timeout, which is short for the sake of the connection; a download may pause for longer.
    socket = getattr(getattr(getattr(response, "fp", None), "raw", None), "_sock", None)
    if socket is not None:
        socket.settimeout(seconds)


def _host(url: str) -> str:
    return urllib.parse.urlsplit(url).netloc.lower()


def _repository(url: str) -> str:
    return re.split(r"/(?:manifests|blobs)/", url)[0]


def _digest_for(name: str, text: str, where: str) -> str:
    """Find the digest of the file ``name`` in the ``text`` of a checksum file: a bare digest, or lines of digest and name."""
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and _DIGEST.match(words[0]) and PurePosixPath(words[1].lstrip("*")).name == name:  # noqa: PLR2004 (digest, name)
            return words[0].lower()
    words = text.split()
    if len(words) == 1 and _DIGEST.match(words[0]):
        return words[0].lower()
    raise SourceUnavailableError(f"{where} lists no SHA-256 or SHA-512 digest of {name}")


def extract(archive: Path, files: Mapping[str, str], folder: Path) -> set[str]:
    """Extract files from a verified tar archive; return the names of those that are missing.

    Args:
        archive: a tar file, compressed or not.
        files: base name of a member -> path in ``folder``; ``*`` extracts every file into the folder it maps to; ``**`` extracts the whole
            tree.
        folder: the target.

    Raises:
        SourceUnavailableError: the archive can't be read.
        OSError: a file can't be written.
    """
    missing = {name for name in files if not name.startswith("*")}
    try:
        with tarfile.open(archive) as tar:
            if "**" in files:
                tar.extractall(folder / files["**"], filter="data")
                return missing
            for member in tar:
                base = PurePosixPath(member.name).name
                place = files.get(base, f"{files['*']}{base}" if "*" in files else None)
                if not member.isfile() or place is None:
                    continue
                source = tar.extractfile(member)
                if source is not None:
                    write(source, folder / place, mode=0o755 if member.mode & 0o100 else 0o644)
                    missing.discard(base)
    except (tarfile.TarError, EOFError, gzip.BadGzipFile) as error:
        raise SourceUnavailableError(f"{archive.name} can't be unpacked: {error}") from error
    return missing


def write(source: IO[bytes], target: Path, mode: int) -> None:
    """Copy ``source`` to ``target``; creates parent folders."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as stream:
        while chunk := source.read(_CHUNK):
            stream.write(chunk)
    target.chmod(mode)
