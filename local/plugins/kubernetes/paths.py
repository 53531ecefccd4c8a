"""Property paths: parsing, formatting, matching."""

from __future__ import annotations

import re
from typing import Any

Path = tuple[str | int, ...]
_PLAIN_KEY = re.compile(r"^[A-Za-z_$][A-Za-z0-9_$]*$")
_PATH_PART = re.compile(r'\.?([^.\[\]"]+)|\[(\d+|\*)\]|\["((?:[^"\\]|\\.)*)"\]')


def path_text(path: Path) -> str:
    """Format a path as the engine does: `spec.containers[0].image`, `metadata.annotations["a.b/c"]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_KEY.match(part):
            text += f".{part}" if text else part
        else:
            escaped = part.replace("\\", "\\\\").replace('"', '\\"')
            text += f'["{escaped}"]'
    return text


def parse_path(text: str) -> Path:
    """Parse a path as in `ignore_changes`; `[*]` becomes the part `*`."""
    parts: list[str | int] = []
    for match in _PATH_PART.finditer(text):
        plain, index, quoted = match.groups()
        if plain is not None:
            parts.append(plain)
        elif index is not None:
            parts.append("*" if index == "*" else int(index))
        else:
            parts.append(re.sub(r"\\(.)", r"\1", quoted))
    return tuple(parts)


def contains(outer: Path, inner: Path) -> bool:
    """Whether `inner` is `outer` or in it; `*` in `outer` matches any part."""
    return len(outer) <= len(inner) and all(mine in ("*", theirs) for mine, theirs in zip(outer, inner, strict=False))


def look(value: Any, path: Path) -> Any:
    """The value at a path, or None."""
    for part in path:
        if isinstance(value, list):
            if not isinstance(part, int) or part >= len(value):
                return None
        elif not isinstance(value, dict) or part not in value:
            return None
        value = value[part]
    return value
