"""`up`: from a fresh machine to a Triton with verified inferences. Each step can be interrupted and run again."""

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
INFERENCE: Final = "inferences with known results"
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
    """Lock the instance: one `up`, `load`, `destroy`, `down` or `clean` at a time. Raises CommandError if another one holds the lock."""
    session.state.mkdir(parents=True, exist_ok=True)
    with (session.state / "command.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            message = f"Instance {session.instance} is in use by {holder}: wait for it to finish, or stop it, then run this command again."
            raise CommandError(message) from None
        file.seek(0)
        file.truncate()
        file.write(f"process {os.getpid()}")
        file.flush()
        yield


def toolchain_of(session: Session, reporter: TerminalReporter) -> Toolchain:
    """The tools, searched for on the user's PATH."""
    return Toolchain(session.cache, reporter, path=session.environ.get("PATH", os.defpath))


def platform_of(session: Session, toolchain: Toolchain, images: Sequence[ImageFile] = ()) -> Platform:
    """The embedded platform of this instance."""
    from local.platform import Platform  # noqa: PLC0415 (not needed for your own cluster)

    return Platform(session.platform_config, toolchain, images)


def own_environment(session: Session) -> dict[str, str]:
    """Variables with which kubectl, helm and Pulumi use the user's context: a kubeconfig that has only that one (see `take_context`)."""
    return {"KUBE_CONTEXT": session.kube_context or "", "KUBECONFIG": str(session.state / "kubeconfig")}


def take_context(session: Session, program: Path) -> None:
    """Write only the user's context into the instance's kubeconfig.

    kubectl, which can't take a context from a variable, then uses the same cluster as Pulumi. Raises CommandError if there is no such
    context.
    """
    command = [str(program), "config", "view", "--raw", "--minify", "--flatten", f"--context={session.kube_context}"]
    done = subprocess.run(command, env=dict(session.environ), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        message = f"Context {session.kube_context} can't be used: {done.stderr.strip()}. List yours with `kubectl config get-contexts`."
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
    """Path of ``name`` on Pulumi's PATH; `subprocess` would search this process's. Raises CommandError if it is missing."""
    found = shutil.which(name, path=pulumi.environment.get("PATH"))
    if found is None:
        message = f"{name} is not on PATH: the cluster can't be queried. Run `make up`, which gets it."
        raise CommandError(message)
    return found


@dataclass(frozen=True, kw_only=True)
class Endpoints:
    """Triton's addresses from this machine."""

    http: str
    grpc: str


def up(session: Session, reporter: TerminalReporter) -> None:
    """Bring the instance up and verify that it serves.

    Raises:
        CommandError, PlatformError, ToolchainError: something failed; the message has the remedy.
    """
    with exclusive(session):
        if session.kube_context is None:
            _up_embedded(session, reporter)
        else:
            _up_own(session, reporter)


# ------------------------------------------------------------------ the embedded platform
def _up_embedded(session: Session, reporter: TerminalReporter) -> None:
    from local import images  # noqa: PLC0415 (not needed for your own cluster)

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
    """Images built on request that this stack needs: rclone's, if a deployment prefetches its models."""
    try:
        serving = yaml.safe_load(stack_file.read_text(encoding="utf-8"))["config"]["triton-fleet:serving"]
        asked = [entry.get("prefetch") for entry in serving]
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return ()  # the settings' loader reports what is wrong
    wanted = any(prefetch is True or (isinstance(prefetch, dict) and prefetch.get("enabled") is True) for prefetch in asked)
    return (RCLONE_IMAGE.rpartition("/")[2],) if wanted else ()


def require(platform: Platform) -> None:
    """Raise CommandError with everything that keeps this machine from running the platform, and the alternative."""
    from local.platform.errors import OWN_CLUSTER_HINT  # noqa: PLC0415

    failed = [check for check in platform.preflight() if check.required and not check.ok]
    if failed:
        lines = [f"  {check}" for check in failed]
        message = "This machine can't run the embedded platform:\n" + "\n".join(lines) + f"\n{OWN_CLUSTER_HINT}"
        raise CommandError(message)


# ------------------------------------------------------------------ the user's own cluster
def _up_own(session: Session, reporter: TerminalReporter) -> None:
    assert session.kube_context is not None  # noqa: S101 (the caller checks)
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
    """Forward free ports on loopback to Triton's Service with kubectl until the context ends.

    Raises:
        CommandError: kubectl can't forward.
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
    assert process.stdout is not None  # noqa: S101 (a pipe)
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
            # It prints a line for each connection and would block on a full pipe.
            threading.Thread(target=output.read, daemon=True).start()
            yield Endpoints(http=f"http://127.0.0.1:{ports['8000']}", grpc=f"127.0.0.1:{ports['8001']}")
        finally:
            process.terminate()
            process.wait()


# ------------------------------------------------------------------ for both
def prepare(
    session: Session, toolchain: Toolchain, added: Mapping[str, str], reporter: TerminalReporter
) -> tuple[Pulumi, kubernetes_plugin.Installed]:
    """Pulumi with its companions, plugin, backend and stack, cleaned up after a killed run."""
    cli = assemble(session.bin, toolchain, Path(sys.executable))
    session.pulumi_home.mkdir(parents=True, exist_ok=True)
    pulumi = session.pulumi(cli, added)
    plugin = kubernetes_plugin.ensure(pulumi, session.pulumi_home, reporter)
    pulumi.select(reporter)
    heal(pulumi, reporter)
    return pulumi, plugin


def deploy(pulumi: Pulumi, reporter: TerminalReporter) -> None:
    """`pulumi up`. Raises CommandError if it fails; Pulumi's output says why."""
    # Without the preview, which would double the time; `pulumi preview` shows one.
    code = pulumi.show(reporter, "up", "--yes", "--skip-preview", "--stack", pulumi.stack)
    if code:
        message = (
            f"`pulumi up` failed with exit code {code}; see its messages above. Run `make up` again to continue where it stopped. "
            'To see what the cluster reports: eval "$(make -s env)"; kubectl get events -A --sort-by=.lastTimestamp'
        )
        raise CommandError(message)


def prove(pulumi: Pulumi, endpoints: Endpoints, reporter: TerminalReporter, budget_s: float) -> list[str]:
    """Wait until Triton serves, run inferences, and wait for the autoscaler's metric; return a line for each check."""
    with reporter.step(SERVING):
        remedy = 'See eval "$(make -s env)"; kubectl describe pods -n triton; kubectl logs -n triton -l app.kubernetes.io/name=triton.'
        verify.wait(lambda: verify.readiness(endpoints.http), budget_s, f"Model {verify.MODEL} at {endpoints.http}", remedy)
    with reporter.step(INFERENCE):
        over_http = verify.infer_http(endpoints.http)
        over_grpc = verify.infer_grpc(endpoints.grpc)
    began = time.monotonic()
    with reporter.step(METRIC):
        values: list[tuple[str, str]] = []

        def missing() -> str | None:
            answer = kubectl(pulumi, "get", "--raw", verify.custom_metric_path(NAMESPACE, METRIC_NAME))
            if answer.returncode:
                return answer.stderr.strip().splitlines()[-1] if answer.stderr.strip() else f"kubectl ended with {answer.returncode}"
            values[:] = verify.metric_values(answer.stdout)
            return None if values else "the adapter has it for no pod"

        remedy = (
            "See kubectl get apiservice v1beta1.custom.metrics.k8s.io and "
            "kubectl logs -n monitoring -l app.kubernetes.io/name=prometheus-adapter."
        )
        verify.wait(missing, _METRIC_BUDGET_S, f"Custom metric {METRIC_NAME}", remedy)
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
    """Print where everything is and what to run next."""
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
            "    make load                  send a minute of traffic: the replicas rise and fall",
            '    eval "$(make -s env)"      then pulumi preview, pulumi stack output, kubectl get pods -A, helm list -A',
            f"    curl -s {endpoints.http}/v2/models/{verify.MODEL}/config",
            "    make status, make doctor   show the platform, check this machine",
            "    make destroy, make down    delete the stack, stop the platform",
        ]
    else:
        lines += [
            f"    make load{own} URL=http://host:port     send a minute of traffic through a Service that this machine reaches",
            f'    eval "$(make -s env{own})"     then kubectl get pods -A, helm list -A, pulumi stack output,',
            f"                                   pulumi preview --config-file {session.config_file}",
            f"    make destroy{own}              delete the stack",
        ]
    lines += [""]
    print("\n".join(lines), flush=True)


def exports(added: Mapping[str, str]) -> str:
    """Shell lines that set ``added``."""
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in added.items())
