"""Executable part of the language host: its launcher runs this file by path, from any directory."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    """Make this checkout importable and serve."""
    root = str(Path(__file__).resolve().parents[3])
    if root not in sys.path:
        sys.path.insert(0, root)
    from local.plugins.light import light_packages  # noqa: PLC0415 (after the path)

    light_packages()
    from local.plugins.language_python.host import serve  # noqa: PLC0415 (after the light packages)

    code = serve(sys.argv[1:])
    sys.stdout.flush()
    # gRPC's threads may still be in a call that the engine has abandoned; waiting for them would make Ctrl-C hang.
    os._exit(code)


if __name__ == "__main__":
    main()
