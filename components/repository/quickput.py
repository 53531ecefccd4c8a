"""PUT of one object, part or copy over a connection that stays open, signed here: a tenth of the 2.3 ms of processor time of boto3.

Ten thousand small files are bound by that time and not by the network or the store: one interpreter runs boto3 in one thread at a time
(measured: 220 objects of 4 KiB a second with boto3 and 16 threads, with two processors that the store shares).

An attempt and no more: whatever is not a plain success (a redirect, throttling, an error, credentials that have expired, a proxy that is
needed) answers None, and the caller does the same by boto3, which knows all of that.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import socket
import ssl
import threading
import time
import urllib.request
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote, urlsplit

from components.repository.checksum import BLOCK, crc32c, extend, text
from components.repository.objectstore import CancelledError, SourceChangedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from io import BufferedReader

    from mypy_boto3_s3.client import S3Client

    from components.repository.objectstore import Source, Transfer

_TIMEOUT_S: Final = 60.0
_FAILURES: Final = 8
"""Attempts in a row that came to nothing, after which it is left to boto3 alone for good."""
_OK: Final = 200
_PLAIN: Final = frozenset({_OK, 404, 412})
"""Answers that say nothing against this way of asking: what was to be copied is gone, or another thing by now."""
_UNSIGNED: Final = "UNSIGNED-PAYLOAD"
_TOGETHER: Final = 1 << 16
"""Bytes of a body that goes out in one packet train with its head; larger ones are not copied for that."""


_CHECKSUM: Final = "x-amz-checksum-crc32c"
_ALGORITHM: Final = "x-amz-sdk-checksum-algorithm"
_COPIED: Final = re.compile(rb"<CopyObjectResult.*<ETag>(?:&quot;|&#34;|\")?([^<&\"]+)", re.DOTALL)


class Written(NamedTuple):
    """What lies in the store now."""

    etag: str
    """Without quotes."""
    checksum: str
    """Its CRC32C, as the store has compared it; empty where it knows none, and the ETag is the MD5."""


class _Answer(NamedTuple):
    status: int
    etag: str
    checksum: str
    body: bytes


class QuickPut:
    """Puts objects into one bucket. Safe to use from several threads: each has a connection of its own."""

    def __init__(self, client: S3Client, bucket: str) -> None:
        self._bucket = bucket
        self._region = client.meta.region_name
        self._credentials = _credentials(client)
        # boto3 knows where this bucket is asked for: path or host style, port, region, endpoint of the environment.
        self._base = urlsplit(client.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "k"}))
        self._root = self._base.path.removesuffix("k")
        self._host = self._base.netloc
        self._local = threading.local()
        self._failed = 0
        self._tells_checksums = True
        self._tls: ssl.SSLContext | None = None
        self._key: tuple[str, str, bytes] = ("", "", b"")
        proxies = urllib.request.getproxies()
        if self._base.scheme in proxies and not urllib.request.proxy_bypass(self._host):
            self._failed = _FAILURES
        if self._base.scheme == "https":
            try:
                self._tls = ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE") or _certificates())
            except (OSError, ssl.SSLError):
                self._failed = _FAILURES

    def put(self, key: str, body: bytes | memoryview, query: str = "", checksum: str = "") -> Written | None:
        """Write ``body``; None when boto3 is to do it.

        ``query`` is a query string in canonical order, such as ``partNumber=1&uploadId=x``; ``checksum`` the CRC32C, where it is known.
        """
        checksum = checksum or crc32c(body)

        def send(connection: socket.socket) -> _Answer:
            head = self._head(key, query, len(body), {_CHECKSUM: checksum, _ALGORITHM: "CRC32C"})
            if len(body) <= _TOGETHER:
                connection.sendall(head + body)
            else:
                connection.sendall(head)
                connection.sendall(body)
            return self._answer()

        answer = self._try(send)
        if answer is None:
            return None
        if answer.checksum:
            return Written(answer.etag, checksum) if answer.checksum == checksum else None
        return Written(answer.etag, "") if answer.etag == hashlib.md5(body, usedforsecurity=False).hexdigest() else None

    def put_file(self, key: str, source: Source, transfer: Transfer) -> Written | None:
        """Write a file in one request, a block in memory at a time; None when it is to be done in another way.

        It is compared with what was scanned while it is sent, and the last block is kept back until it is the same: without it there is no
        object, whether or not the store compares.

        Raises:
            SourceChangedError: When the file is not what was scanned.
            CancelledError: When the transfer is cancelled.
        """
        if not self._tells_checksums:
            return None
        reported = 0

        def send(connection: socket.socket) -> _Answer:
            nonlocal reported
            connection.sendall(self._head(key, "", source.size, {_CHECKSUM: source.crc32c, _ALGORITHM: "CRC32C"}))
            for block in _blocks(source):
                transfer.check()
                connection.sendall(block)
                transfer.sent(len(block))
                reported += len(block)
            return self._answer()

        try:
            answer = self._try(send)
        except (SourceChangedError, CancelledError):
            self._close()
            raise
        if answer is not None and answer.checksum == source.crc32c:
            return Written(answer.etag, answer.checksum)
        if answer is not None and not answer.checksum:
            self._tells_checksums = False
        transfer.sent(-reported)
        return None

    def copy(self, origin: str, etag: str, key: str) -> str | None:
        """Copy an object of the bucket, if it still has this ETag: the copy's ETag; None when boto3 is to do it, or to tell why not."""

        def send(connection: socket.socket) -> _Answer:
            source = quote(f"/{self._bucket}/{origin}", safe="/-_.~")
            connection.sendall(self._head(key, "", 0, {"x-amz-copy-source": source, "x-amz-copy-source-if-match": f'"{etag}"'}))
            return self._answer()

        answer = self._try(send)
        # A copy that fails on the way is answered with 200 as well, and an error in the body.
        found = None if answer is None else _COPIED.search(answer.body)
        return None if found is None else found[1].decode()

    def _try(self, send: Callable[[socket.socket], _Answer]) -> _Answer | None:
        """What was answered; None when that is no success."""
        if self._failed >= _FAILURES or self._credentials is None:
            return None
        try:
            answer = send(self._connection())
        except (OSError, ValueError):
            answer = None
        if answer is None or answer.status not in _PLAIN:
            self._failed += 1
            self._close()
            return None
        self._failed = 0
        return answer if answer.status == _OK else None

    def _answer(self) -> _Answer:
        reader: BufferedReader = self._local.reader
        first = reader.readline().split(None, 2)
        headers = self._headers(reader)
        status = int(first[1]) if len(first) > 1 else 0
        if headers.get(b"transfer-encoding", b"").lower() == b"chunked":
            body = b""
            while size := int(reader.readline().split(b";")[0], 16):
                body += reader.read(size)
                reader.readline()
            self._headers(reader)
        else:
            body = reader.read(int(headers.get(b"content-length", b"0")))
        if headers.get(b"connection", b"").lower() == b"close":
            self._close()
        etag = headers.get(b"etag", b"").decode().strip('"')
        return _Answer(status, etag, headers.get(_CHECKSUM.encode(), b"").decode(), body)

    @staticmethod
    def _headers(reader: BufferedReader) -> dict[bytes, bytes]:
        """Headers or trailers. Raises ValueError when the connection ends among them."""
        headers: dict[bytes, bytes] = {}
        while (line := reader.readline()) not in {b"\r\n", b"\n"}:
            name, _, value = line.partition(b":")
            if not line:
                raise ValueError("the connection was closed")
            headers[name.lower()] = value.strip()
        return headers

    def _head(self, key: str, query: str, length: int, more: Mapping[str, str]) -> bytes:
        """Request line and headers, signed (AWS Signature Version 4, "Create a signed AWS API request").

        The body is not signed a second time: its checksum is among the headers that are.
        """
        path = self._root + quote(key, safe="/-_.~")
        keys = self._credentials.get_frozen_credentials()
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        day = now[:8]
        signed = {"host": self._host, "x-amz-content-sha256": _UNSIGNED, "x-amz-date": now, **more}
        if keys.token:
            signed["x-amz-security-token"] = keys.token
        ordered = sorted(signed.items())
        names = ";".join(name for name, _ in ordered)
        lines = "".join(f"{name}:{value}\n" for name, value in ordered)
        scope = f"{day}/{self._region}/s3/aws4_request"
        canonical = f"PUT\n{path}\n{query}\n{lines}\n{names}\n{_UNSIGNED}"
        text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(self._signing_key(day, keys.secret_key), text.encode(), "sha256").hex()
        target = f"{path}?{query}" if query else path
        headers = "".join(f"{name}: {value}\r\n" for name, value in ordered)
        return (
            f"PUT {target} HTTP/1.1\r\n{headers}Content-Length: {length}\r\nUser-Agent: triton-fleet\r\n"
            f"Authorization: AWS4-HMAC-SHA256 Credential={keys.access_key}/{scope}, SignedHeaders={names}, Signature={signature}\r\n\r\n"
        ).encode()

    def _signing_key(self, day: str, secret: str) -> bytes:
        known_day, known_secret, key = self._key
        if (known_day, known_secret) != (day, secret):
            key = f"AWS4{secret}".encode()
            for part in (day, self._region, "s3", "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._key = (day, secret, key)
        return key

    def _connection(self) -> socket.socket:
        there: socket.socket | None = getattr(self._local, "socket", None)
        if there is not None:
            return there
        default = 443 if self._tls else 80
        made = socket.create_connection((self._base.hostname, self._base.port or default), timeout=_TIMEOUT_S)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is not None:
            made = self._tls.wrap_socket(made, server_hostname=self._base.hostname)
        self._local.socket = made
        self._local.reader = made.makefile("rb")
        return made

    def _close(self) -> None:
        for name in ("reader", "socket"):
            there = getattr(self._local, name, None)
            if there is not None:
                there.close()
                setattr(self._local, name, None)


def _blocks(source: Source) -> Iterator[bytes]:
    """The file, a block at a time; the last one only when all of it is what was scanned. Raises SourceChangedError otherwise."""
    crc = 0
    left = source.size
    try:
        with open(source.path, "rb", buffering=0) as stream:  # noqa: PTH123 (unbuffered, without a second copy)
            while left:
                block = stream.read(min(BLOCK, left))
                if not block:
                    raise SourceChangedError(source.path)
                crc = extend(crc, block)
                left -= len(block)
                if not left and (text(crc) != source.crc32c or not source.unchanged()):
                    raise SourceChangedError(source.path)
                yield block
    except OSError:
        raise SourceChangedError(source.path) from None


def _credentials(client: Any) -> Any:
    """The client's own, which renew themselves; None when this botocore keeps them elsewhere, or requests are anonymous."""
    return getattr(getattr(client, "_request_signer", None), "_credentials", None)


def _certificates() -> str | None:
    """The certificates that botocore trusts."""
    from botocore.httpsession import where  # noqa: PLC0415

    return str(where())
