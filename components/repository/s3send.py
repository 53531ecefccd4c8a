"""Bodies on their way into S3: whole or in parts, each with a checksum that the store compares before it says that it has it."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from components.base.errors import FleetError
from components.repository.checksum import BLOCK, composite, crc32c, extend, text
from components.repository.objectstore import PARALLEL, PART_BYTES, CancelledError, Source, SourceChangedError, Stat, Transfer
from components.repository.s3client import code, corrupt, found

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from components.repository.quickput import QuickPut
    from components.repository.store import S3Store

_MAX_PARTS: Final = 10_000
"""S3's own limit (Amazon S3 user guide, "Multipart upload limits")."""
_NO_CHECKSUM: Final = frozenset({"NotImplemented", "InvalidArgument", "InvalidRequest", "NotSupported"})


class Sender:
    """Sends into one bucket. Safe to use from several threads."""

    def __init__(self, store: S3Store, quick: Callable[[], QuickPut]) -> None:
        self._store = store
        self._quick = quick
        self._knows_crc32c = True
        self._buffers = _Buffers(PARALLEL)

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(PARALLEL, thread_name_prefix="triton-fleet-part")

    # --- whole ---

    def put(self, key: str, body: bytes | memoryview, checksum: str = "") -> Stat:
        """Write ``body``, whose CRC32C may be known already."""
        quick = self._quick().put(key, body, checksum=checksum)
        if quick is not None:
            return Stat(key=key, size=len(body), etag=quick.etag, modified=0.0)
        client, bucket = self._store.client, self._store.bucket
        answer = self._checked(lambda checks: client.put_object(Bucket=bucket, Key=key, Body=bytes(body), **checks), body)
        etag = answer["ETag"].strip('"')
        if "ChecksumCRC32C" not in answer and not is_digest(etag, body, answer):
            head = client.head_object(Bucket=bucket, Key=key)
            if head["ContentLength"] != len(body):
                raise FleetError(corrupt(self._store.location, key))
        return Stat(key=key, size=len(body), etag=etag, modified=0.0)

    def put_small(self, key: str, source: Source) -> Stat:
        """Write a file that fits into memory."""
        body = read(source.path, 0, source.size + 1)
        if body is None or len(body) != source.size or hashlib.sha256(body).hexdigest() != source.sha256:
            raise SourceChangedError(source.path)
        return self.put(key, body, source.crc32c)

    def put_stream(self, key: str, source: Source, transfer: Transfer) -> Stat | None:
        """Write a file in one request; None when this way is closed."""
        quick = self._quick().put_file(key, source, transfer)
        return None if quick is None else Stat(key=key, size=source.size, etag=quick.etag, modified=0.0)

    def _checked(self, request: Any, body: bytes | memoryview) -> Any:
        """Answer of ``request``, which gets the checksum that this store takes: CRC32C, or where it knows none, Content-MD5."""
        import base64  # noqa: PLC0415

        from botocore.exceptions import ClientError  # noqa: PLC0415

        refused: Exception | None = None
        if self._knows_crc32c:
            try:
                return request({"ChecksumCRC32C": crc32c(body)})
            except ClientError as error:
                if code(error) not in _NO_CHECKSUM:
                    raise
                refused = error
        answer = request({"ContentMD5": base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()})
        if refused is not None and code(refused) in {"NotImplemented", "NotSupported"}:
            self._knows_crc32c = False
        return answer

    # --- in parts ---

    def put_parts(self, key: str, source: Source, transfer: Transfer) -> Stat:
        """Send a large file, its parts side by side; those that an earlier attempt has left are kept."""
        if not source.unchanged():
            raise SourceChangedError(source.path)
        size = part_bytes(source.size)
        upload, there = self._resume(key)
        offsets = range(0, source.size, size)
        stop = threading.Event()

        def send(number: int, offset: int) -> dict[str, Any]:
            length = min(size, source.size - offset)
            if stop.is_set():
                raise CancelledError
            transfer.check()
            with self._buffers.of(length) as body:
                if not _fill(source.path, offset, body):
                    raise SourceChangedError(source.path)
                part = _part_there(there.get(number), body) or self._send_part(key, upload, number, body)
            transfer.sent(length)
            return {"PartNumber": number, **part}

        futures = [self._threads.submit(send, number, offset) for number, offset in enumerate(offsets, start=1)]
        try:
            parts = [future.result() for future in futures]
        except BaseException:
            stop.set()
            for future in futures:
                future.cancel()
            raise
        client, bucket = self._store.client, self._store.bucket
        if not source.unchanged():
            client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
            raise SourceChangedError(source.path)
        answer = client.complete_multipart_upload(
            Bucket=bucket,
            Key=key,
            UploadId=upload,
            MultipartUpload={"Parts": parts},  # type: ignore[typeddict-item]  # made above
        )
        return Stat(key=key, size=source.size, etag=answer["ETag"].strip('"'), modified=0.0)

    def _send_part(self, key: str, upload: str, number: int, body: bytes | memoryview) -> dict[str, Any]:
        quick = self._quick().put(key, body, f"partNumber={number}&uploadId={quote(upload, safe='-_.~')}")
        if quick is not None:
            return _part({"ETag": f'"{quick.etag}"', "ChecksumCRC32C": quick.checksum})
        client, bucket = self._store.client, self._store.bucket
        answer = self._checked(
            lambda checks: client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=bytes(body), **checks), body
        )
        if "ChecksumCRC32C" not in answer and not is_digest(answer["ETag"].strip('"'), body, answer):
            raise FleetError(corrupt(self._store.location, key))
        return _part(answer)

    def _resume(self, key: str) -> tuple[str, dict[int, Mapping[str, Any]]]:
        """An unfinished upload of the key with its parts by number; a new one when there is none."""
        client, bucket = self._store.client, self._store.bucket
        extra: dict[str, Any] = {"ChecksumAlgorithm": "CRC32C"} if self._knows_crc32c else {}
        with suppress(Exception):  # only a saving: a store without listings, or a right that is missing, is no reason to fail
            for begun in self.unfinished(key):
                # One that was begun with another checksum takes no parts with ours.
                if begun["Key"] == key and begun.get("ChecksumAlgorithm", "CRC32C") == "CRC32C":
                    upload = begun["UploadId"]
                    pages = client.get_paginator("list_parts").paginate(Bucket=bucket, Key=key, UploadId=upload)
                    return upload, {part["PartNumber"]: part for page in pages for part in page.get("Parts", [])}
        return client.create_multipart_upload(Bucket=bucket, Key=key, **extra)["UploadId"], {}

    def unfinished(self, prefix: str) -> Sequence[Mapping[str, Any]]:
        """What was begun in parts below ``prefix`` and not finished."""
        pages = self._store.client.get_paginator("list_multipart_uploads").paginate(Bucket=self._store.bucket, Prefix=prefix)
        return [upload for page in pages for upload in page.get("Uploads", [])]

    # --- what is there ---

    def holds(self, there: Stat, source: Source) -> bool:
        """Whether an object of the file's size has its content: by the ETag where it is a digest, else by the CRC32C that is kept."""
        parts = there.etag.rpartition("-")[2] if "-" in there.etag else ""
        digests = _digests(source, part_bytes(source.size) if parts else source.size)
        if digests is None or (parts and parts != str(len(digests))):
            return False  # gone, or of other parts and so not ours
        md5s, crc32cs = zip(*digests, strict=True)
        expected = f"{hashlib.md5(b''.join(md5s), usedforsecurity=False).hexdigest()}-{len(md5s)}" if parts else md5s[0].hex()
        if there.etag == expected:
            return True
        head = found(lambda: self._store.client.head_object(Bucket=self._store.bucket, Key=there.key, ChecksumMode="ENABLED"))
        return head is not None and head.get("ChecksumCRC32C") == (composite(crc32cs) if parts else crc32cs[0])


def _digests(source: Source, part: int) -> list[tuple[bytes, str]] | None:
    """MD5 and CRC32C of each part of a file; None when it can't be read."""
    digests: list[tuple[bytes, str]] = []
    left = source.size
    try:
        with open(source.path, "rb", buffering=0) as stream:  # noqa: PTH123 (unbuffered, without a second copy)
            while left or not digests:
                md5, crc, room = hashlib.md5(usedforsecurity=False), 0, min(part, left)
                left -= room
                while room:
                    block = stream.read(min(BLOCK, room))
                    if not block:
                        return None
                    md5.update(block)
                    crc = extend(crc, block)
                    room -= len(block)
                digests.append((md5.digest(), text(crc)))
    except OSError:
        return None
    return digests


def is_digest(etag: str, body: bytes | memoryview, answer: Mapping[str, Any]) -> bool:
    """Whether an ETag is the MD5 of ``body``. It is none of anything under KMS; such stores know CRC32C."""
    return answer.get("ServerSideEncryption", "AES256") == "AES256" and etag == hashlib.md5(body, usedforsecurity=False).hexdigest()


def part_bytes(size: int) -> int:
    """Bytes of each part of a file of ``size`` bytes: PART_BYTES, or more whole MiB where it would take more parts than S3 allows."""
    least = -(-size // _MAX_PARTS)
    return PART_BYTES if least <= PART_BYTES else -(-least // (1 << 20)) << 20


class _Buffers:
    """Memory for bodies that several threads share out among them. It is used again: what comes and goes leaves holes behind."""

    def __init__(self, count: int) -> None:
        self._free = threading.BoundedSemaphore(count)
        self._there: list[bytearray] = []

    @contextmanager
    def of(self, size: int) -> Iterator[memoryview]:
        """Wait for a buffer and have ``size`` bytes of it while the block runs."""
        with self._free:
            try:
                buffer = self._there.pop()
            except IndexError:
                buffer = bytearray()
            if len(buffer) < size:
                buffer = bytearray(max(size, PART_BYTES))  # a file of more than MAX_PARTS * PART_BYTES (78 GiB) has larger parts
            try:
                with memoryview(buffer) as whole, whole[:size] as view:
                    yield view
            finally:
                if len(buffer) == PART_BYTES:
                    self._there.append(buffer)


def _part(there: Mapping[str, Any]) -> dict[str, Any]:
    part = {"ETag": there["ETag"]}
    if there.get("ChecksumCRC32C"):
        part["ChecksumCRC32C"] = there["ChecksumCRC32C"]
    return part


def _part_there(there: Mapping[str, Any] | None, body: bytes | memoryview) -> dict[str, Any] | None:
    """The part as an earlier attempt has left it, if its checksum is that of ``body``."""
    if there is None or there["Size"] != len(body):
        return None
    kept = there.get("ChecksumCRC32C")
    same = kept == crc32c(body) if kept else is_digest(there["ETag"].strip('"'), body, {})
    return _part(there) if same else None


def read(path: os.PathLike[str], offset: int, length: int) -> bytes | None:
    """Up to ``length`` bytes; None when the file can't be read any more."""
    try:
        with open(path, "rb", buffering=0) as stream:  # noqa: PTH123 (unbuffered, without a second copy)
            stream.seek(offset)
            body = stream.read(length)
            while 0 < len(body) < length:
                more = stream.read(length - len(body))
                if not more:
                    break
                body += more
            return body
    except OSError:
        return None


def _fill(path: os.PathLike[str], offset: int, body: memoryview) -> bool:
    """Read a piece of a file; False when it can't be, or there is less."""
    try:
        with open(path, "rb", buffering=0) as stream:  # noqa: PTH123 (as above)
            stream.seek(offset)
            done = 0
            while done < len(body):
                count = stream.readinto(body[done:])
                if not count:
                    return False
                done += count
            return True
    except OSError:
        return False
