"""Compile Python sources to bytecode files. Standard library only: the image's Python runs it as a script if it is not the running one."""

from __future__ import annotations

import importlib.util
import marshal
import sys
import warnings

FORMAT = 2
"""Of marshal: without back references. These depend on the process's other objects, so the bytes would differ between runs."""


def compiled(sources: dict[str, bytes]) -> dict[str, bytes]:
    """Bytecode files for sources, by path without leading slash; skips sources with errors, such as templates."""
    found = {}
    for path, source in sources.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of third-party sources
                code = compile(source, f"/{path}", "exec", dont_inherit=True, optimize=0)
        except (SyntaxError, ValueError):
            continue
        # Flag 1: validated by hash, which imports don't check; times would not do, because they are all 0 in the image.
        header = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + importlib.util.source_hash(source)
        folder, _, name = path.rpartition("/")
        found[f"{folder}/__pycache__/{name.removesuffix('.py')}.{sys.implementation.cache_tag}.pyc"] = header + marshal.dumps(code, FORMAT)
    return found


if __name__ == "__main__":
    sys.stdout.buffer.write(marshal.dumps(compiled(marshal.load(sys.stdin.buffer)), FORMAT))  # noqa: S302 (from our own process)
