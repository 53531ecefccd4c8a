"""Executable part of the plugin: Pulumi starts it with the engine's address; it prints its port and serves until the engine exits."""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    """Make this checkout importable from any working directory, and serve."""
    root = str(Path(__file__).resolve().parents[3])
    if root not in sys.path:
        sys.path.insert(0, root)
    from local.plugins.light import light_packages  # noqa: PLC0415  # the path comes first

    light_packages()
    from local.plugins.kubernetes.server import serve  # noqa: PLC0415  # and the light packages before what uses them

    serve(sys.argv[1:])


if __name__ == "__main__":
    main()
