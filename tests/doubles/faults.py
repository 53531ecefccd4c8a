"""Failures on demand, and the journal of what doubles did.

Both are files in the folder that all processes of a run share: a plugin's process ends with each `pulumi up`, and what it was told to fail
and what it did must outlive it.
"""

from __future__ import annotations

import contextlib
import fcntl
import fnmatch
import json
import os
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

Kind = Literal["quota", "throttling", "refused", "createFailed", "dependency", "lost"]
Operation = Literal["create", "update", "delete", "read", "invoke", "construct"]

_RULES: Final = "faults.json"
_COUNTS: Final = "faults-used.json"
_LOCK: Final = "faults.lock"
_JOURNAL: Final = "journal.jsonl"
_ALWAYS: Final = 1_000_000_000
"""Often enough to mean always."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing that goes wrong.

    Kinds: ``quota`` refuses before anything is made; ``throttling`` refuses ``times`` attempts, which the provider repeats by itself;
    ``refused`` refuses with ``message``; ``createFailed`` makes the resource, and after ``delay`` seconds it turns out broken and stays, as
    a node group in CREATE_FAILED; ``dependency`` blocks ``times`` attempts to delete, which the provider repeats until its patience ends;
    ``lost`` makes the resource and lets the plugin's process end before it could say so.
    """

    kind: Kind
    type: str = "*"
    """Pattern of type tokens (of a function's token, where ``operation`` is invoke)."""
    name: str = "*"
    """Pattern of logical names."""
    operation: Operation = "create"
    times: int = 1
    """How often; a fault that was used up is no more. `always` stands for without end."""
    each: bool = False
    """Whether every resource that it is meant for has ``times`` of its own, instead of all together."""
    delay: float = 0.0
    """Seconds as the real cloud takes them."""
    message: str = ""
    """In the provider's words; each kind has its own where this is empty."""

    always = _ALWAYS

    def matches(self, token: str, name: str, operation: str) -> bool:
        """Whether it is meant for this."""
        return operation == self.operation and fnmatch.fnmatchcase(token, self.type) and fnmatch.fnmatchcase(name, self.name)

    def counter(self, index: int, token: str, name: str) -> str:
        """Under which name it is counted that it happened to this."""
        return f"{index} {token} {name}" if self.each else str(index)


class Faults:
    """The faults of one run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def set(self, *faults: Fault) -> None:
        """Let exactly these happen from now on, as if none had happened yet. Raises ValueError for one that never could."""
        for fault in faults:
            if fault.kind not in get_args(Kind) or fault.operation not in get_args(Operation) or fault.times < 1:
                message = f"{fault} could never happen: kinds are {get_args(Kind)}, operations {get_args(Operation)}, times at least 1"
                raise ValueError(message)
        with self._locked():
            self._write(_COUNTS, {})
            self._write(_RULES, [asdict(fault) for fault in faults])

    def clear(self) -> None:
        """Let nothing go wrong."""
        self.set()

    def unused(self) -> list[Fault]:
        """Faults that did not happen as often as they were to; those without end and those of `each` count as used after once."""
        with self._locked():
            counts: dict[str, int] = self._read(_COUNTS, {})
            rules = [Fault(**item) for item in self._read(_RULES, [])]
        used: dict[str, int] = {}
        for key, count in counts.items():
            index = key.split(" ", 1)[0]
            used[index] = used.get(index, 0) + count
        wanted = [1 if fault.each or fault.times >= _ALWAYS else fault.times for fault in rules]
        return [fault for index, fault in enumerate(rules) if used.get(str(index), 0) < wanted[index]]

    def take(self, token: str, name: str, operation: str) -> Fault | None:
        """The fault that happens now; it counts as having happened."""
        if not (self._folder / _RULES).exists():
            return None
        with self._locked():
            used = self._read(_COUNTS, {})
            for index, item in enumerate(self._read(_RULES, [])):
                fault = Fault(**item)
                counter = fault.counter(index, token, name)
                if fault.matches(token, name, operation) and used.get(counter, 0) < fault.times:
                    self._write(_COUNTS, {**used, counter: used.get(counter, 0) + 1})
                    return fault
        return None

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _read(self, name: str, default: Any) -> Any:
        try:
            return json.loads((self._folder / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return default

    def _write(self, name: str, content: Any) -> None:
        new = self._folder / f".{name}.{os.getpid()}"
        new.write_text(json.dumps(content), encoding="utf-8")
        new.replace(self._folder / name)


@dataclass(frozen=True, kw_only=True)
class Span:
    """One operation of a double, from the journal."""

    provider: str
    operation: str
    urn: str
    type: str
    name: str
    preview: bool
    begin: float
    """Seconds since the epoch."""
    end: float | None
    """None: it never ended, its process did."""
    error: str | None
    notes: tuple[str, ...]
    """What happened in between, such as an attempt that was throttled."""

    def overlaps(self, other: Span) -> bool:
        """Whether both were under way at once."""
        return self.begin < (other.end or float("inf")) and other.begin < (self.end or float("inf"))


class Journal:
    """What doubles did: JSON lines, one for each beginning, note and end."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _JOURNAL

    def write(self, number: str, phase: str, **what: Any) -> None:
        """Add a line. One write to a file that is opened to append is never torn by another process."""
        line = json.dumps({"time": time.time(), "call": number, "phase": phase, **what}) + "\n"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab", buffering=0) as file:
            file.write(line.encode())

    def clear(self) -> None:
        """Forget all, between two commands of a test."""
        self._path.unlink(missing_ok=True)

    def spans(self, *, previews: bool = False, operations: Sequence[str] = ("create", "update", "delete")) -> list[Span]:
        """Operations in the order in which they began."""
        begun: dict[str, dict[str, Any]] = {}
        ended: dict[str, dict[str, Any]] = {}
        notes: dict[str, list[str]] = {}
        for line in self._path.read_text(encoding="utf-8").splitlines() if self._path.exists() else []:
            entry = json.loads(line)
            match entry["phase"]:
                case "begin":
                    begun[entry["call"]] = entry
                case "end":
                    ended[entry["call"]] = entry
                case _:
                    notes.setdefault(entry["call"], []).append(str(entry["text"]))
        return [
            Span(
                provider=entry["provider"],
                operation=entry["operation"],
                urn=entry["urn"],
                type=entry["type"],
                name=entry["name"],
                preview=entry["preview"],
                begin=entry["time"],
                end=ended[number]["time"] if number in ended else None,
                error=ended[number].get("error") if number in ended else None,
                notes=tuple(notes.get(number, [])),
            )
            for number, entry in begun.items()
            if entry["operation"] in operations and (previews or not entry["preview"])
        ]
