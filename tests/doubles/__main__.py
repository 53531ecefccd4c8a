"""A double's executable part: started by the engine with its address, prints its port, serves until the engine is gone."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path


def main() -> None:
    """Make this checkout importable, whatever the working directory is, and serve the double that the first argument names."""
    root = str(Path(__file__).resolve().parents[2])
    if root not in sys.path:
        sys.path.insert(0, root)
    from local.plugins.light import light_packages  # noqa: PLC0415  # the path comes first

    light_packages()
    from tests.doubles.provider_server import serve  # noqa: PLC0415  # and the light packages before what uses them

    module, _, name = sys.argv[1].partition(":")
    serve(getattr(importlib.import_module(module), name), sys.argv[2:])


if __name__ == "__main__":
    main()
