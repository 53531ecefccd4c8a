"""CRC32C as object stores write it: base64 of four bytes, the highest first.

The checksum that S3 and Google Cloud Storage both compare on arrival, at a tenth of the cost of SHA-256 (measured on an EPYC with SHA
instructions: 19 GB/s against 1.8) on this side and on the store's. What a release *is* is told by SHA-256; this only sees that it arrives.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

import google_crc32c

if TYPE_CHECKING:
    from collections.abc import Iterable

BLOCK: Final = 1 << 18
"""Bytes that are read, summed and sent at a time: they stay in the processor's cache from the first of these to the last."""


def extend(crc: int, data: bytes | memoryview) -> int:
    """Checksum of what ``crc`` is the checksum of (0: nothing), followed by ``data``."""
    if isinstance(data, bytes):
        return int(google_crc32c.extend(crc, data))
    for start in range(0, len(data), BLOCK):  # it takes nothing but bytes
        crc = int(google_crc32c.extend(crc, bytes(data[start : start + BLOCK])))
    return crc


def text(crc: int) -> str:
    """A checksum as stores write it."""
    return base64.b64encode(crc.to_bytes(4, "big")).decode()


def crc32c(data: bytes | memoryview) -> str:
    """Checksum of ``data``, as stores write it."""
    return text(extend(0, data))


def composite(parts: Iterable[str]) -> str:
    """What S3 keeps of an object that came in parts with these checksums: one over theirs, and their number."""
    raw = [base64.b64decode(part) for part in parts]
    return f"{crc32c(b''.join(raw))}-{len(raw)}"
