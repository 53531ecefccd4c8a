"""`up`: from a fresh machine to a Triton that has answered, in steps that each can be interrupted and run again."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import yaml

from components.base.versions import RCLONE_IMAGE
from local.cli import kubernetes_plugin, own_cluster, verify
from local.cli.errors import CommandError
from local.cli.heal import heal
from local.cli.pulumi import Pulumi, assemble
from local.cli.session import OWN_CLUSTER_TOOLS, Session
from local.progress import duration
from local.toolchain import Toolchain

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from local.images import ImageFile
    from local.platform import Platform
    from local.progress import TerminalReporter

CHECK: Final = "checking the machine"
TOOLS: Final = "tools"
IMAGES: Final = "container images"
PLATFORM: Final = "platform: a Kubernetes node and an object store"
STACK: Final = "Pulumi: state, plugins, stack"
UP: Final = "pulumi up"
SERVING: Final = "Triton loads its models"
INFERENCE: Final = "inferences with known answers"
METRIC: Final = "the autoscaler's metric"

NAMESPACE: Final = "triton"
METRIC_NAME: Final = "avg_time_queue_us"
_FORWARDING: Final = re.compile(r"Forwarding from 127\.0\.0\.1:(?P<port>\d+) -> (?P<target>\d+)")
_FIRST_UP_S: Final = 60.0
_UNCHANGED_UP_S: Final = 10.0
_SERVING_BUDGET_S: Final = 300.0
_METRIC_BUDGET_S: Final = 120.0
_OWN_CLUSTER_BUDGET_S: Final = 1800.0


@contextlib.contextmanager
def exclusive(session: Session) -> Generator[None]:
    """Hold the instance: one `up`, `load`, `destroy`, `down` or `clean` at a time. Raises CommandError when another one holds it."""
    session.state.mkdir(parents=True, exist_ok=True)
    with (session.state / "command.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            message = f"Instance {session.instance} is being changed by {holder}: wait for it to end, or end it and run this again."
            raise CommandError(message) from None
        file.seek(0)
        file.truncate()
        file.write(f"process {os.getpid()}")
        file.flush()
        yield


def toolchain_of(session: Session, reporter: TerminalReporter) -> Toolchain:
    """The tools, found on the PATH that the user came with."""
    return Toolchain(session.cache, reporter, path=session.environ.get("PATH", os.defpath))


def platform_of(session: Session, toolchain: Toolchain, images: Sequence[ImageFile] = ()) -> Platform:
    """The embedded platform of this instance."""
    from local.platform import Platform  # noqa: PLC0415 (a cluster of one's own never loads it)

    return Platform(session.platform_config, toolchain, images)


def own_environment(session: Session) -> dict[str, str]:
    """What kubectl, helm and Pulumi need to use the user's context: a kubeconfig with that one in it (`take_context` writes it)."""
    return {"KUBE_CONTEXT": session.kube_context or "", "KUBECONFIG": str(session.state / "kubeconfig")}


def take_context(session: Session, program: Path) -> None:
    """Write the user's context, alone, into a kubeconfig of the instance's own.

    So that plain kubectl, which takes a context from no variable, talks to the same cluster as Pulumi. Raises CommandError without it.
    """
    command = [str(program), "config", "view", "--raw", "--minify", "--flatten", f"--context={session.kube_context}"]
    done = subprocess.run(command, env=dict(session.environ), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        message = f"Context {session.kube_context} can't be used: {done.stderr.strip()}. `kubectl config get-contexts` lists yours."
        raise CommandError(message)
    file = session.state / "kubeconfig"
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as opened:
        opened.write(done.stdout)


def kubectl(pulumi: Pulumi, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run kubectl on the instance's cluster."""
    command = [program(pulumi, "kubectl"), *arguments]
    return subprocess.run(command, env=dict(pulumi.environment), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def program(pulumi: Pulumi, name: str) -> str:
    """Where ``name`` is on Pulumi's PATH: `subprocess` itself would look on this process's. Raises CommandError when it is nowhere."""
    found = shutil.which(name, path=pulumi.environment.get("PATH"))
    if found is None:
        message = f"{name} is not on PATH: it can't be asked about the cluster. Run `make up`, which gets it."
        raise CommandError(message)
    return found


@dataclass(frozen=True, kw_only=True)
class Endpoints:
    """Where Triton is, as this machine reaches it."""

    http: str
    grpc: str


def up(session: Session, reporter: TerminalReporter) -> None:
    """Bring the instance up and prove that it serves.

    Raises:
        CommandError, PlatformError, ToolchainError: with the remedy.
    """
    with exclusive(session):
        if session.kube_context is None:
            _up_embedded(session, reporter)
        else:
            _up_own(session, reporter)


# ------------------------------------------------------------------ the embedded platform
def _up_embedded(session: Session, reporter: TerminalReporter) -> None:
    from local import images  # noqa: PLC0415 (not needed on a cluster of one's own)

    toolchain = toolchain_of(session, reporter)
    platform = platform_of(session, toolchain)
    again = session.served.exists()
    also = images_asked_for(session.project / "Pulumi.dev.yaml")
    tools_s, images_s = toolchain.estimate_s(), images.estimate_s(toolchain, session.cache, also=also)
    plan = [
        (CHECK, 1.0),
        (TOOLS, tools_s),
        (IMAGES, images_s),
        (PLATFORM, platform.estimate_s()),
        (STACK, 3.0 if again else 8.0),
        (UP, _UNCHANGED_UP_S if again else _FIRST_UP_S),
        (SERVING, 1.0 if again else 5.0),
        (INFERENCE, 2.0),
        (METRIC, 1.0 if again else 10.0),
    ]
    reporter.begin(f"Triton Fleet, instance {session.instance}, on this machine", plan)
    with reporter.step(CHECK):
        require(platform)
    with reporter.step(TOOLS):
        toolchain.ensure()
    with reporter.step(IMAGES):
        built = images.build_all(toolchain, session.cache, reporter, also=also)
    platform = platform_of(session, toolchain, built)
    with reporter.step(PLATFORM):
        platform.start(reporter)
    with reporter.step(STACK):
        added = session.added_environment(toolchain, platform.environment())
        pulumi, plugin = prepare(session, toolchain, added, reporter)
    with reporter.step(UP):
        session.served.unlink(missing_ok=True)
        deploy(pulumi, reporter)
    urls = session.endpoints
    endpoints = Endpoints(http=urls["triton-http"], grpc=urls["triton-grpc"])
    checked = prove(pulumi, endpoints, reporter, _SERVING_BUDGET_S)
    session.served.touch()
    summary(session, pulumi, plugin, endpoints, checked, took_s=reporter.elapsed())


def images_asked_for(stack_file: Path) -> tuple[str, ...]:
    """Images that only some stacks run, and this one does: rclone's, where a deployment copies its models first (`prefetch`)."""
    try:
        serving = yaml.safe_load(stack_file.read_text(encoding="utf-8"))["config"]["triton-fleet:serving"]
        asked = [entry.get("prefetch") for entry in serving]
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return ()  # whoever reads the settings says what is wrong with them
    wanted = any(prefetch is True or (isinstance(prefetch, dict) and prefetch.get("enabled") is True) for prefetch in asked)
    return (RCLONE_IMAGE.rpartition("/")[2],) if wanted else ()


def require(platform: Platform) -> None:
    """Raise CommandError with everything that keeps this machine from running the platform, and the way around it."""
    from local.platform.errors import OWN_CLUSTER_HINT  # noqa: PLC0415

    failed = [check for check in platform.preflight() if check.required and not check.ok]
    if failed:
        lines = [f"  {check}" for check in failed]
        message = "This machine can't run the embedded platform:\n" + "\n".join(lines) + f"\n{OWN_CLUSTER_HINT}"
        raise CommandError(message)


# ------------------------------------------------------------------ a cluster of the user's own
def _up_own(session: Session, reporter: TerminalReporter) -> None:
    assert session.kube_context is not None  # noqa: S101 (the caller looked)
    toolchain = toolchain_of(session, reporter)
    plan = [
        (CHECK, 2.0),
        (TOOLS, toolchain.estimate_s(*OWN_CLUSTER_TOOLS)),
        (STACK, 8.0),
        (UP, 600.0),
        (SERVING, 60.0),
        (INFERENCE, 2.0),
        (METRIC, 20.0),
    ]
    reporter.begin(f"Triton Fleet, instance {session.instance}, on your cluster {session.kube_context}", plan)
    with reporter.step(CHECK):
        cluster = own_cluster.OwnCluster.from_environment(session.kube_context, session.environ)
        own_cluster.write_stack_file(session.project / "Pulumi.dev.yaml", session.config_file, cluster)
    with reporter.step(TOOLS):
        toolchain.ensure(*OWN_CLUSTER_TOOLS)
    with reporter.step(STACK):
        take_context(session, toolchain.path("kubectl"))
        added = session.added_environment(toolchain, own_environment(session))
        if cluster.endpoint is not None and not session.environ.get("AWS_ENDPOINT_URL_S3"):
            added["AWS_ENDPOINT_URL_S3"] = cluster.endpoint
        pulumi, plugin = prepare(session, toolchain, added, reporter)
        answer = kubectl(pulumi, "version", "--request-timeout=10s")
        if answer.returncode:
            message = (
                f"Context {session.kube_context} does not answer: {answer.stderr.strip()}. "
                f"`kubectl --context {session.kube_context} version` must work first."
            )
            raise CommandError(message)
    with reporter.step(UP):
        deploy(pulumi, reporter)
    with forwarded(pulumi) as endpoints:
        checked = prove(pulumi, endpoints, reporter, _OWN_CLUSTER_BUDGET_S)
    summary(session, pulumi, plugin, None, checked, took_s=reporter.elapsed())


@contextlib.contextmanager
def forwarded(pulumi: Pulumi) -> Generator[Endpoints]:
    """Triton's Service on free ports of loopback for as long as the context lasts (kubectl port-forward).

    Raises:
        CommandError: kubectl ended instead of forwarding.
    """
    command = [
        program(pulumi, "kubectl"),
        "--namespace",
        NAMESPACE,
        "port-forward",
        "--address=127.0.0.1",
        "service/triton",
        ":8000",
        ":8001",
    ]
    process = subprocess.Popen(
        command, env=dict(pulumi.environment), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None  # noqa: S101 (it was asked for)
    lines, ports = [], dict[str, str]()
    with process.stdout as output:
        try:
            while len(ports) < 2 and (line := output.readline()):  # noqa: PLR2004 (HTTP and gRPC)
                lines.append(line)
                if found := _FORWARDING.match(line):
                    ports[found["target"]] = found["port"]
            if len(ports) < 2:  # noqa: PLR2004
                message = f"Triton in namespace {NAMESPACE} can't be reached through kubectl port-forward: {''.join(lines).strip()}"
                raise CommandError(message)
            # It says a line for each connection: read them, or it stands still before a full pipe.
            threading.Thread(target=output.read, daemon=True).start()
            yield Endpoints(http=f"http://127.0.0.1:{ports['8000']}", grpc=f"127.0.0.1:{ports['8001']}")
        finally:
            process.terminate()
            process.wait()


# ------------------------------------------------------------------ what both have in common
def prepare(
    session: Session, toolchain: Toolchain, added: Mapping[str, str], reporter: TerminalReporter
) -> tuple[Pulumi, kubernetes_plugin.Installed]:
    """Pulumi with its companions, its plugin, its backend, its stack, healed of what an earlier kill left."""
    cli = assemble(session.bin, toolchain, Path(sys.executable))
    session.pulumi_home.mkdir(parents=True, exist_ok=True)
    pulumi = session.pulumi(cli, added)
    plugin = kubernetes_plugin.ensure(pulumi, session.pulumi_home, reporter)
    pulumi.select(reporter)
    heal(pulumi, reporter)
    return pulumi, plugin


def deploy(pulumi: Pulumi, reporter: TerminalReporter) -> None:
    """`pulumi up`. Raises CommandError when it fails; its own output has said why."""
    # A preview before would double the time and nobody looks at it: `pulumi preview` is there for who wants one.
    code = pulumi.show(reporter, "up", "--yes", "--skip-preview", "--stack", pulumi.stack)
    if code:
        message = (
            f"`pulumi up` ended with exit code {code}; its messages are above. `make up` again goes on where it stopped; "
            'eval "$(make -s env)" and `kubectl get events -A --sort-by=.lastTimestamp` show what the cluster says.'
        )
        raise CommandError(message)


def prove(pulumi: Pulumi, endpoints: Endpoints, reporter: TerminalReporter, budget_s: float) -> list[str]:
    """Wait until Triton serves, ask it, and wait for the metric that scales it; returns what was seen, a line each."""
    with reporter.step(SERVING):
        remedy = 'See eval "$(make -s env)"; kubectl describe pods -n triton; kubectl logs -n triton -l app.kubernetes.io/name=triton.'
        verify.wait(lambda: verify.readiness(endpoints.http), budget_s, f"Model {verify.MODEL} at {endpoints.http}", remedy)
    with reporter.step(INFERENCE):
        over_http = verify.infer_http(endpoints.http)
        over_grpc = verify.infer_grpc(endpoints.grpc)
    began = time.monotonic()
    with reporter.step(METRIC):
        values: list[tuple[str, str]] = []

        def lacks() -> str | None:
            answer = kubectl(pulumi, "get", "--raw", verify.custom_metric_path(NAMESPACE, METRIC_NAME))
            if answer.returncode:
                return answer.stderr.strip().splitlines()[-1] if answer.stderr.strip() else f"kubectl ended with {answer.returncode}"
            values[:] = verify.metric_values(answer.stdout)
            return None if values else "the adapter knows no pod that has it"

        remedy = (
            "See kubectl get apiservice v1beta1.custom.metrics.k8s.io and "
            "kubectl logs -n monitoring -l app.kubernetes.io/name=prometheus-adapter."
        )
        verify.wait(lacks, _METRIC_BUDGET_S, f"Custom metric {METRIC_NAME}", remedy)
    pods = ", ".join(f"{pod} {value}" for pod, value in values)
    return [
        f"HTTP inference in {over_http.seconds * 1000:.0f} ms: {over_http.text}",
        f"gRPC inference in {over_grpc.seconds * 1000:.0f} ms: {over_grpc.text}",
        f"{METRIC_NAME} on custom.metrics.k8s.io, {time.monotonic() - began:.0f} s after the inferences: {pods}",
    ]


def summary(
    session: Session,
    pulumi: Pulumi,
    plugin: kubernetes_plugin.Installed,
    endpoints: Endpoints | None,
    checked: Sequence[str],
    *,
    took_s: float,
) -> None:
    """Say where everything is and what to type next."""
    lines = ["", f"Triton serves. It took {duration(took_s)}.", "", "  Checked"]
    lines += [f"    {line}" for line in checked]
    lines += ["", "  Where"]
    if endpoints is not None:
        urls = session.endpoints
        lines += [
            f"    Triton HTTP    {endpoints.http}/v2/models/{verify.MODEL}",
            f"    Triton gRPC    {endpoints.grpc}",
            f"    Prometheus     {urls['prometheus']}",
            f"    object store   {urls['object-store']} (S3, bucket models)",
            f"    Kubernetes     KUBECONFIG={pulumi.environment['KUBECONFIG']}",
        ]
    else:
        lines += [f"    Kubernetes     context {session.kube_context}, Service triton in namespace {NAMESPACE} (ports 8000, 8001, 8002)"]
    own = f" KUBE_CONTEXT={shlex.quote(session.kube_context)}" if session.kube_context is not None else ""
    lines += [
        f"    Pulumi         stack {pulumi.stack}, state in {session.backend}",
        f"    plugin         kubernetes v{plugin.version}, {kubernetes_plugin.ORIGIN[plugin.kind]}",
        "",
        "  Next",
    ]
    if endpoints is not None:
        lines += [
            "    make load                  a minute of traffic: the replicas rise and fall",
            '    eval "$(make -s env)"      then pulumi preview, pulumi stack output, kubectl get pods -A, helm list -A',
            f"    curl -s {endpoints.http}/v2/models/{verify.MODEL}/config",
            "    make status, make doctor   what runs, what this machine has",
            "    make destroy, make down    take it all away",
        ]
    else:
        lines += [
            f"    make load{own} URL=http://host:port     a minute of traffic through a Service that this machine reaches",
            f'    eval "$(make -s env{own})"     then kubectl get pods -A, helm list -A, pulumi stack output,',
            f"                                   pulumi preview --config-file {session.config_file}",
            f"    make destroy{own}              take it all away",
        ]
    lines += [""]
    print("\n".join(lines), flush=True)


def exports(added: Mapping[str, str]) -> str:
    """Shell lines that set ``added``."""
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in added.items())
