"""The shorter commands: destroy, down, status, env, clean."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Final

from local.cli import own_cluster
from local.cli.doctor import doctor
from local.cli.errors import CommandError
from local.cli.orphans import end_orphans
from local.cli.session import OWN_CLUSTER_TOOLS, Session
from local.cli.up import exclusive, exports, own_environment, platform_of, prepare, take_context, toolchain_of

if TYPE_CHECKING:
    from pathlib import Path

    from local.progress import TerminalReporter

__all__ = ["clean", "destroy", "doctor", "down", "env", "status"]

_CHECKERS: Final = (".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", "out")


def destroy(session: Session, reporter: TerminalReporter) -> int:
    """`pulumi destroy`: delete everything that `up` created in the cluster. Starts a stopped platform, which the deletion needs."""
    with exclusive(session):
        if not (session.backend / ".pulumi" / "stacks").exists():
            print(f"Instance {session.instance} has no stack: nothing to destroy.")
            return 0
        toolchain = toolchain_of(session, reporter)
        reporter.begin(f"Triton Fleet, instance {session.instance}: destroying the stack")
        if session.kube_context is None:
            toolchain.ensure()
            platform = platform_of(session, toolchain)
            if not platform.status().running:
                with reporter.step("platform, which the deletion needs", 30.0):
                    platform.start(reporter)
            environment = platform.environment()
        else:
            toolchain.ensure(*OWN_CLUSTER_TOOLS)
            take_context(session, toolchain.path("kubectl"))
            environment = own_environment(session)
            if not session.config_file.exists():
                cluster = own_cluster.OwnCluster.from_environment(session.kube_context, session.environ)
                own_cluster.write_stack_file(session.project / "Pulumi.dev.yaml", session.config_file, cluster)
        pulumi, _ = prepare(session, toolchain, session.added_environment(toolchain, environment), reporter)
        session.served.unlink(missing_ok=True)
        with reporter.step("pulumi destroy", 60.0):
            code = pulumi.show(reporter, "destroy", "--yes", "--skip-preview", "--stack", pulumi.stack)
        if code:
            message = f"`pulumi destroy` failed with exit code {code}; see its messages above. Run it again to continue where it stopped."
            raise CommandError(message)
    after = "Run make down to stop the platform." if session.kube_context is None else "Your cluster is as it was before."
    print(f"Stack {pulumi.stack} is empty. {after}")
    return 0


def down(session: Session, reporter: TerminalReporter) -> int:
    """Stop the platform: no process, mount, network namespace or control group is left. Its state stays."""
    if session.kube_context is not None:
        print(f"KUBE_CONTEXT={session.kube_context} is your own cluster: there is no platform to stop.")
        return 0
    if not session.state.exists():
        print(f"Instance {session.instance} has never been started.")
        return 0
    with exclusive(session), reporter.step("stopping the platform", 10.0):
        end_orphans(session.pulumi_home)
        platform_of(session, toolchain_of(session, reporter)).stop()
    print(f"The platform is stopped; its state is in {session.state} (make up continues with it, make clean deletes it).")
    return 0


def status(session: Session, reporter: TerminalReporter) -> int:
    """Print the platform's status. Exit code 3 if it is not running, like service managers."""
    if session.kube_context is not None:
        print(f"KUBE_CONTEXT={session.kube_context} is your own cluster: run kubectl --context {session.kube_context} get pods -A")
        return 0
    found = platform_of(session, toolchain_of(session, reporter)).status()
    print(found)
    return 0 if found.running else 3


def env(session: Session, reporter: TerminalReporter) -> int:
    """Print only shell exports, for ``eval "$(make -s env)"``."""
    toolchain = toolchain_of(session, reporter)
    if session.kube_context is None:
        platform = platform_of(session, toolchain)
        environment = platform.environment()
        if not platform.status().running:
            reporter.note("The platform is not running: the variables are set, but the cluster is unreachable until `make up`.")
    else:
        environment = own_environment(session)
    print(exports(session.added_environment(toolchain, environment)))
    return 0


def clean(session: Session, reporter: TerminalReporter, *, cache: bool) -> int:
    """Stop the platform; delete the instance's state, out/ and the linters' caches, and with ``cache`` also the tools and images."""
    if session.kube_context is not None:
        message = (
            f"KUBE_CONTEXT={session.kube_context} is set: clean would delete the record of what the stack created in your cluster. "
            f"Run `make destroy` first, then delete {session.state} by hand."
        )
        raise CommandError(message)
    if session.state.exists():
        down(session, reporter)
        shutil.rmtree(session.state)
    gone = [session.state, *(session.project / name for name in _CHECKERS)]
    if cache:
        gone.append(session.cache)
    for folder in gone:
        _remove(folder)
    print("Clean." if cache else f"Clean; tools and images stay in {session.cache} (make clean ARGS=--cache deletes them).")
    return 0


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder, onerror=_explain)


def _explain(function: object, path: str, error: object) -> None:
    del function
    print(f"{path} could not be deleted: {error}", file=sys.stderr)
