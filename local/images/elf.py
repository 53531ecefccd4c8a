"""Read from an ELF file whether the program will start in an image: its libraries, and whether it needs a dynamic loader."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

_MAGIC: Final = b"\x7fELF"
_CLASS_64: Final = 2
_LITTLE: Final = 1
_PT_LOAD: Final = 1
_PT_DYNAMIC: Final = 2
_PT_INTERP: Final = 3
_DT_NEEDED: Final = 1
_DT_STRTAB: Final = 5
_HEADER: Final = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM: Final = struct.Struct("<IIQQQQQQ")
_DYNAMIC: Final = struct.Struct("<qQ")


@dataclass(frozen=True, kw_only=True)
class Elf:
    """What a 64-bit little-endian ELF file needs at run time."""

    interpreter: bool
    """Whether it starts through a dynamic loader, which must then be in the image."""
    needed: tuple[str, ...]
    """Names of the shared libraries that it needs."""


def parse(data: bytes) -> Elf | None:
    """Return what the file needs; None if it is not a 64-bit little-endian ELF file.

    Raises:
        ValueError: tables of the ELF file point outside it.
    """
    if len(data) < _HEADER.size or data[:4] != _MAGIC or data[4] != _CLASS_64 or data[5] != _LITTLE:
        return None
    try:
        return _parse(data)
    except (struct.error, IndexError) as error:
        raise ValueError(f"corrupt ELF file: {error}") from error


def _parse(data: bytes) -> Elf:
    header = _HEADER.unpack_from(data)
    offset, size, number = header[5], header[9], header[10]
    programs = [_PROGRAM.unpack_from(data, offset + index * size) for index in range(number)]
    interpreter = any(kind == _PT_INTERP for kind, *_ in programs)
    needed: list[int] = []
    strings = None
    for kind, _, start, _, _, length, _, _ in programs:
        if kind != _PT_DYNAMIC:
            continue
        for tag, value in _DYNAMIC.iter_unpack(data[start : start + length - length % _DYNAMIC.size]):
            if tag == 0:
                break
            if tag == _DT_NEEDED:
                needed.append(value)
            elif tag == _DT_STRTAB:
                strings = _file_offset(programs, value)
    if strings is None:
        return Elf(interpreter=interpreter, needed=())
    return Elf(interpreter=interpreter, needed=tuple(_string(data, strings + value) for value in needed))


def _file_offset(programs: list[tuple[int, ...]], address: int) -> int | None:
    for kind, _, start, virtual, _, length, _, _ in programs:
        if kind == _PT_LOAD and virtual <= address < virtual + length:
            return start + address - virtual
    return None


def _string(data: bytes, start: int) -> str:
    end = data.index(0, start) if start < len(data) else start
    return data[start:end].decode("ascii", "replace")
