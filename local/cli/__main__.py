"""``python -m local.cli COMMAND``: the Makefile's targets run it."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from local.cli.errors import CommandError, Terminated
from local.cli.session import PROJECT, Session
from local.progress import TerminalReporter

if TYPE_CHECKING:
    from collections.abc import Sequence


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(prog="python -m local.cli", description="Triton Fleet on this machine or on your own cluster.")
    top.add_argument("--instance", help="name of the instance (default: TRITON_FLEET_INSTANCE, else dev)")
    top.add_argument("--port-offset", type=int, help="added to every port on 127.0.0.1 (default: TRITON_FLEET_PORT_OFFSET, else 0)")
    commands = top.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start the platform, deploy the stack, verify inferences")
    load = commands.add_parser("load", help="send inference traffic and show the replicas")
    load.add_argument("--base", type=float, default=8.0, help="requests per second before and after the surge (default 8)")
    load.add_argument("--surge", type=float, default=110.0, help="requests per second during the surge (default 110)")
    load.add_argument("--seconds", type=float, default=60.0, help="total length of base, surge and base (default 60)")
    load.add_argument("--settle", type=float, default=420.0, help="longest wait for the replicas to return to the minimum (default 420)")
    load.add_argument("--out", type=Path, default=PROJECT / "out", help="folder for load.png and load.json (default: out)")
    load.add_argument("--url", default=os.environ.get("URL") or None, help="Triton's base URL (default: the platform's port on loopback)")
    commands.add_parser("destroy", help="delete what the stack has deployed (pulumi destroy)")
    commands.add_parser("down", help="stop the platform")
    commands.add_parser("status", help="show the platform's components and endpoints")
    commands.add_parser("doctor", help="check this machine's requirements")
    commands.add_parser("env", help="print shell exports")
    clean = commands.add_parser("clean", help="stop the platform and delete its state")
    clean.add_argument("--cache", action="store_true", help="also delete the cache of tools and images")
    return top


def run(arguments: argparse.Namespace) -> int:
    """Run one command and return its exit code."""
    session = Session.from_environment(instance=arguments.instance, offset=arguments.port_offset)
    # Each command imports its own modules, so that `env` stays fast.
    reporter = TerminalReporter(sys.stderr if arguments.command == "env" else sys.stdout)
    if arguments.command == "up":
        from local.cli.up import up  # noqa: PLC0415

        up(session, reporter)
        return 0
    if arguments.command == "load":
        from local.load.run import Plan, load  # noqa: PLC0415

        plan = Plan(
            base_rps=arguments.base,
            surge_rps=arguments.surge,
            seconds=arguments.seconds,
            settle_s=arguments.settle,
            url=arguments.url,
            out=arguments.out,
        )
        return load(session, reporter, plan)
    from local.cli import commands  # noqa: PLC0415

    if arguments.command == "clean":
        return commands.clean(session, reporter, cache=arguments.cache)
    plain = {
        "destroy": commands.destroy,
        "down": commands.down,
        "status": commands.status,
        "env": commands.env,
        "doctor": commands.doctor,
    }
    return plain[arguments.command](session, reporter)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; turn exceptions into a message and an exit code (1: failed, 130: interrupted)."""
    parsed = parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _terminated)
    try:
        return run(parsed)
    except KeyboardInterrupt:
        print(f"\nInterrupted. Run `make {parsed.command}` again to continue where it stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1
    except Exception as error:
        if not _is_expected(error):
            raise
        print(f"\n{'=' * min(shutil.get_terminal_size().columns, 100)}\n{error}", file=sys.stderr)
        return 1


def _terminated(*_: object) -> None:
    raise Terminated


def _is_expected(error: Exception) -> bool:
    if isinstance(error, CommandError):
        return True
    from local.platform import PlatformError  # noqa: PLC0415 (only on failure)
    from local.toolchain import ToolchainError  # noqa: PLC0415

    return isinstance(error, PlatformError | ToolchainError) or type(error).__module__.startswith("local.")


if __name__ == "__main__":
    sys.exit(main())
