"""Downloads of publishers' releases over HTTPS, each verified by the publisher's own checksum file before anything of it is used."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.client
import re
import tarfile
import threading
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Final

from local.toolchain.errors import ChecksumError, SourceUnavailableError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

CONNECT_TIMEOUT_S: Final = 5.0
"""For a name server and a connection; a publisher that takes longer counts as out of reach."""
READ_TIMEOUT_S: Final = 30.0
"""Longest silence in the middle of a download."""
_CHUNK: Final = 1 << 20
_MAX_CHECKSUM_FILE: Final = 4 << 20
_ATTEMPTS: Final = 2
_DIGEST: Final = re.compile(r"^(?:[0-9a-fA-F]{64}|[0-9a-fA-F]{128})$")
_SHA256_LENGTH: Final = 64
_LOOPBACK: Final = {"127.0.0.1", "localhost", "::1"}


class Fetcher:
    """Fetches files, and remembers which hosts can't be reached so that only the first attempt at each costs time."""

    def __init__(self, connect_timeout_s: float = CONNECT_TIMEOUT_S, read_timeout_s: float = READ_TIMEOUT_S) -> None:
        self._connect_timeout_s = connect_timeout_s
        self._read_timeout_s = read_timeout_s
        self._unreachable: dict[str, str] = {}
        self._lock = threading.Lock()

    def reachable(self, url: str) -> bool:
        """Tell whether the host of ``url`` has not been found out of reach in this run."""
        with self._lock:
            return _host(url) not in self._unreachable

    def verified(self, url: str, checksums: str, folder: Path) -> Path:
        """Download ``url`` into ``folder`` and return the file, which is what the file at ``checksums`` says it is.

        Raises:
            SourceUnavailableError: a host is out of reach, a file is not there, or it ended early (twice).
            ChecksumError: the file differs from what its publisher released (twice).
            OSError: it can't be written, as when the disk is full.
        """
        name = PurePosixPath(urllib.parse.urlsplit(url).path).name
        expected = _digest_for(name, self._small(checksums), checksums)
        target = folder / name
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._download(url, target, expected)
            except SourceUnavailableError as error:
                target.unlink(missing_ok=True)
                # A cut connection or a broken proxy may do better the second time; a host out of reach or a missing file will not.
                if attempt == _ATTEMPTS or not isinstance(error, _TransientError | ChecksumError):
                    raise
            else:
                break
        return target

    # ------------------------------------------------------------------ how
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
                f"{url} has checksum {digest.hexdigest()[:16]}..., but its publisher says {expected[:16]}...; it was not used"
            )

    def _small(self, url: str) -> str:
        with self._open(url) as response:
            text = b""
            while chunk := self._read(response, url):
                text += chunk
                if len(text) > _MAX_CHECKSUM_FILE:
                    raise SourceUnavailableError(f"{url} is no checksum file: it has more than {_MAX_CHECKSUM_FILE >> 20} MiB")
        return text.decode(errors="replace")

    @staticmethod
    def _read(response: http.client.HTTPResponse, url: str) -> bytes:
        try:
            return response.read(_CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise _TransientError(f"{url} broke off: {error or type(error).__name__}") from error

    @contextlib.contextmanager
    def _open(self, url: str) -> Generator[http.client.HTTPResponse]:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
            raise SourceUnavailableError(f"{url} is not https, so what it gives can't be trusted")
        host = _host(url)
        with self._lock:
            known = self._unreachable.get(host)
        if known is not None:
            raise SourceUnavailableError(f"{host} is out of reach ({known})")
        request = urllib.request.Request(url, headers={"User-Agent": "triton-fleet-toolchain"})  # noqa: S310 (scheme is checked above)
        try:
            response = urllib.request.urlopen(request, timeout=self._connect_timeout_s)  # noqa: S310 (scheme is checked above)
        except urllib.error.HTTPError as error:
            error.close()
            raise SourceUnavailableError(f"{url} answered {error.code} {error.reason}") from error
        except (OSError, http.client.HTTPException) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
            with self._lock:
                self._unreachable[host] = reason
            raise SourceUnavailableError(f"{host} is out of reach ({reason})") from error
        with response:
            _set_timeout(response, self._read_timeout_s)
            yield response


class _TransientError(SourceUnavailableError):
    pass


def _set_timeout(response: http.client.HTTPResponse, seconds: float) -> None:
    # The one timeout of urlopen is short, for the connection; a slow server in the middle of a large file deserves more patience.
    socket = getattr(getattr(getattr(response, "fp", None), "raw", None), "_sock", None)
    if socket is not None:
        socket.settimeout(seconds)


def _host(url: str) -> str:
    return urllib.parse.urlsplit(url).netloc.lower()


def _digest_for(name: str, text: str, where: str) -> str:
    """Find the digest of the file ``name`` in the ``text`` of a checksum file: a bare digest, or lines of digest and name."""
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and _DIGEST.match(words[0]) and PurePosixPath(words[1].lstrip("*")).name == name:  # noqa: PLR2004 (digest, name)
            return words[0].lower()
    words = text.split()
    if len(words) == 1 and _DIGEST.match(words[0]):
        return words[0].lower()
    raise SourceUnavailableError(f"{where} has no SHA-256 or SHA-512 digest of {name}")


def extract(archive: Path, files: Mapping[str, str], folder: Path) -> None:
    """Take files out of a verified tar archive.

    Args:
        archive: a tar file, compressed or not.
        files: base name of a member -> its place in ``folder``; ``*`` for every file, into the folder that it maps to; ``**`` for the
            whole tree below the folder that it maps to.
        folder: where the unit is made.

    Raises:
        SourceUnavailableError: the archive lacks one of them or can't be read.
        OSError: a file can't be written.
    """
    missing = {name for name in files if not name.startswith("*")}
    try:
        with tarfile.open(archive) as tar:
            if "**" in files:
                tar.extractall(folder / files["**"], filter="data")
                return
            for member in tar:
                base = PurePosixPath(member.name).name
                place = files.get(base, f"{files['*']}{base}" if "*" in files else None)
                if not member.isfile() or place is None:
                    continue
                source = tar.extractfile(member)
                if source is not None:
                    write(source, folder / place, mode=0o755 if member.mode & 0o100 else 0o644)
                    missing.discard(base)
    except (tarfile.TarError, EOFError) as error:
        raise SourceUnavailableError(f"{archive.name} can't be unpacked: {error}") from error
    except OSError as error:
        if not isinstance(error, gzip.BadGzipFile):
            raise
        raise SourceUnavailableError(f"{archive.name} can't be unpacked: {error}") from error
    if missing:
        raise SourceUnavailableError(f"{archive.name} has no {', '.join(sorted(missing))}")


def write(source: IO[bytes], target: Path, mode: int) -> None:
    """Copy ``source`` to ``target``, whose folders are made."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as stream:
        while chunk := source.read(_CHUNK):
            stream.write(chunk)
    target.chmod(mode)
