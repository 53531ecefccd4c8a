"""`python -m local.images`: build images, or run a program of one.

build [NAME...]          build (or find) these images, all by default; print reference, digest and file
run NAME [-- ARGS...]    run an image's program with ARGS on this machine, in its own namespaces
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from local.images import RECIPES, ImageError, box, build_all
from local.paths import cache_root
from local.progress import TerminalReporter
from local.toolchain import Toolchain, ToolchainError


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m local.images", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="build images")
    build.add_argument("name", nargs="*", help=f"one of {', '.join(recipe.name for recipe in RECIPES)}; all by default")
    run = commands.add_parser("run", help="run an image's program")
    run.add_argument("name")
    run.add_argument("arguments", nargs="*")
    options = parser.parse_args()
    reporter = TerminalReporter()
    try:
        toolchain = Toolchain(cache_root(), reporter)
        if options.command == "build":
            for image in build_all(toolchain, cache_root(), reporter, options.name or None):
                print(image.name, image.digest, image.path)
            return 0
        image = build_all(toolchain, cache_root(), reporter, [options.name])[0]
        with tempfile.TemporaryDirectory() as folder:
            unpacked = box.unpack(image.path, Path(folder) / "root")
            with unpacked.run(options.arguments) as process:
                return process.wait()
    except (ImageError, ToolchainError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
