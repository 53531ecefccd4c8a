"""Command line of the toolchain: ``python -m local.toolchain list``, ``ensure [NAME...]``, ``where NAME``."""

from __future__ import annotations

import argparse
import sys

from local.paths import cache_root
from local.progress import TerminalReporter
from local.toolchain import Toolchain, ToolchainError


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m local.toolchain", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="list every tool, its location and its source")
    ensure = commands.add_parser("ensure", help="make tools available (all by default)")
    ensure.add_argument("names", nargs="*", metavar="NAME")
    where = commands.add_parser("where", help="print the path of one tool")
    where.add_argument("name", metavar="NAME")
    options = parser.parse_args(arguments)
    toolchain = Toolchain(cache_root(), TerminalReporter())
    try:
        if options.command == "list":
            _list(toolchain)
        elif options.command == "ensure":
            toolchain.ensure(*options.names)
            print(toolchain.bin_dir())
        else:
            print(toolchain.path(options.name))
    except ToolchainError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped; finished tools are kept, and the same command continues from there.", file=sys.stderr)
        return 130
    return 0


def _list(toolchain: Toolchain) -> None:
    for name in toolchain.names():
        located = toolchain.located(name)
        refused = toolchain.refused(name)
        state = f"{located.origin:8} {toolchain.path(name)}" if located else "missing"
        print(f"{name:30} {state}{f'   (not used: {refused})' if refused else ''}")


if __name__ == "__main__":
    sys.exit(main())
