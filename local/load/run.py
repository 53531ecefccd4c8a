"""`load`: base, surge and base rate; then a low rate until the replicas are back at the minimum, which shows requests lost on scale-in."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from local.cli.errors import CommandError
from local.cli.up import NAMESPACE, exclusive, kubectl, own_environment, platform_of, toolchain_of
from local.cli.verify import get
from local.load import draw
from local.load.arrivals import Phase, arrivals, percentile, phases
from local.load.client import MODEL, Client, Recorder
from local.load.sampler import PENDING, QUEUE_TIME, Cluster, Sample, Scale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from local.cli.session import Session
    from local.progress import TerminalReporter

DEPLOYMENT: Final = "triton"
_SAMPLE_S: Final = 1.0
_PLAIN_LINE_S: Final = 5.0
_SEED: Final = 20240531
_READY_BUDGET_S: Final = 30.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The user's options."""

    base_rps: float
    surge_rps: float
    seconds: float
    settle_s: float
    """Most seconds after the last base phase for the replicas to return to the minimum."""
    url: str | None
    out: Path
    """Folder for load.png and load.json."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The run in numbers."""

    requests: int
    failed: int
    errors: dict[str, int]
    p50_ms: float
    p99_ms: float
    max_ms: float
    replicas_before: int
    replicas_peak: int
    replicas_after: int
    minimum: int
    first_rise_s: float | None
    """Seconds from the start of the surge until another pod was ready."""
    back_at_minimum_s: float | None
    """Seconds from the end of the surge until the replicas were back at the minimum."""

    @property
    def rose(self) -> bool:
        """Whether the autoscaler added a replica."""
        return self.replicas_peak > self.replicas_before

    @property
    def is_good(self) -> bool:
        """Whether no request failed and the replicas rose and returned to the minimum."""
        return self.failed == 0 and self.rose and self.back_at_minimum_s is not None


def summarize(samples: Sequence[Sample], recorder: Recorder, plan: Sequence[Phase], minimum: int) -> Summary:
    """Compute the run's summary."""
    good = [result.latency * 1000 for result in recorder.results if result.error is None]
    errors: dict[str, int] = {}
    for result in recorder.failed:
        errors[result.error or ""] = errors.get(result.error or "", 0) + 1
    surge_at = next(itertools.accumulate(phase.seconds for phase in plan))
    surge_end = surge_at + plan[1].seconds
    seen = [sample for sample in samples if sample.ready is not None and sample.replicas is not None]
    before = max((sample.ready or 0 for sample in seen if sample.t <= surge_at), default=0)
    rise = next((sample.t - surge_at for sample in seen if sample.t > surge_at and (sample.ready or 0) > before), None)
    peak = max((sample.ready or 0 for sample in seen), default=0)
    peak_at = next((sample.t for sample in seen if sample.ready == peak), 0.0)
    back = next((sample.t - surge_end for sample in seen if sample.t > max(peak_at, surge_end) and sample.replicas == minimum), None)
    return Summary(
        requests=len(recorder.results),
        failed=len(recorder.failed),
        errors=errors,
        p50_ms=percentile(good, 0.5),
        p99_ms=percentile(good, 0.99),
        max_ms=max(good, default=0.0),
        replicas_before=before,
        replicas_peak=peak,
        replicas_after=(seen[-1].replicas or 0) if seen else 0,
        minimum=minimum,
        first_rise_s=rise,
        back_at_minimum_s=back,
    )


class Screen:
    """Shows samples: redrawn in place on a terminal, a line every few seconds in a log."""

    def __init__(self, maximum: int) -> None:
        self._tty = sys.stdout.isatty()
        self._maximum = maximum
        self._height = 0
        self._said = -_PLAIN_LINE_S
        self._last_replicas: int | None = None

    def show(self, samples: Sequence[Sample], phase: str) -> None:
        """Show the run so far."""
        if self._tty:
            lines = draw.dashboard(samples, phase, self._maximum, shutil.get_terminal_size().columns)
            up = f"\x1b[{self._height}A" if self._height else ""
            sys.stdout.write(up + "".join(f"\r\x1b[K{text}\n" for text in lines))
            sys.stdout.flush()
            self._height = len(lines)
            return
        last = samples[-1]
        if last.t - self._said >= _PLAIN_LINE_S or last.ready != self._last_replicas:
            if self._said < 0:
                print(draw.HEADER)
            print(f"{draw.line(last)}  {phase}", flush=True)
            self._said, self._last_replicas = last.t, last.ready


@dataclass(kw_only=True)
class _Run:
    """State shared by sending and sampling."""

    recorder: Recorder
    cluster: Cluster
    screen: Screen
    plan: Sequence[Phase]
    began: float
    samples: list[Sample]
    counted: int = 0

    def phase_at(self, t: float) -> str:
        """Name of the phase at ``t``."""
        end = 0.0
        for phase in self.plan:
            end += phase.seconds
            if t < end:
                return f"{phase.name} {phase.rps:g}/s"
        return "settling"

    async def sample(self) -> Sample:
        """Take one sample without delaying requests."""
        scale, queue, pending = await asyncio.gather(
            asyncio.to_thread(self.cluster.scale),
            asyncio.to_thread(self.cluster.query, QUEUE_TIME),
            asyncio.to_thread(self.cluster.query, PENDING),
        )
        t = time.monotonic() - self.began
        fresh = self.recorder.results[self.counted :]
        self.counted += len(fresh)
        elapsed = t - (self.samples[-1].t if self.samples else 0.0)
        latencies = [result.latency * 1000 for result in fresh]
        sample = Sample(
            t=round(t, 2),
            replicas=scale.current if scale is not None else None,
            desired=scale.desired if scale is not None else None,
            ready=scale.ready if scale is not None else None,
            queue_ms=queue,
            pending=pending,
            rps=round(len(fresh) / elapsed, 2) if elapsed > 0 else 0.0,
            p50_ms=round(percentile(latencies, 0.5), 2),
            p99_ms=round(percentile(latencies, 0.99), 2),
            failed=len(self.recorder.failed),
        )
        self.samples.append(sample)
        self.screen.show(self.samples, self.phase_at(t))
        return sample


async def _drive(run: _Run, base: str, settle: Phase, minimum: int) -> None:
    client = Client(base, run.recorder)
    stop = asyncio.Event()
    whole = [*run.plan, settle]
    traffic = sum(phase.seconds for phase in run.plan)
    sending = asyncio.create_task(client.send(arrivals(whole, _SEED), run.began, stop))
    try:
        while not sending.done():
            began = time.monotonic()
            sample = await run.sample()
            settled = sample.replicas == sample.desired == sample.ready == minimum and sample.t > traffic
            if settled:
                break
            await asyncio.sleep(max(0.0, _SAMPLE_S - (time.monotonic() - began)))
    finally:
        stop.set()
        await sending
    await run.sample()


def load(session: Session, reporter: TerminalReporter, plan: Plan) -> int:
    """Run the load and report. Exit code 1 if an inference failed, or if the replicas did not rise and return to the minimum.

    Raises:
        CommandError: invalid options, or no autoscaled Triton to send load to.
    """
    try:
        steps = phases(base_rps=plan.base_rps, surge_rps=plan.surge_rps, seconds=plan.seconds)
    except ValueError as error:
        message = f"The load can't run: {error}."
        raise CommandError(message) from error
    with exclusive(session):
        base, cluster = _target(session, reporter, plan)
        # At rest: with replicas of an earlier load still there, the run would start from more than it returns to.
        scale = cluster.wait_for_scale(lambda one: one.current == one.desired == one.ready >= one.minimum, _READY_BUDGET_S)
        if scale is None:
            message = (
                f"No HorizontalPodAutoscaler scales Deployment {DEPLOYMENT} in namespace {NAMESPACE}: the replicas would not change. "
                "Run `make up` first."
            )
            raise CommandError(message)
        _announce(base, scale, steps, plan)
        run = _Run(recorder=Recorder(), cluster=cluster, screen=Screen(scale.maximum), plan=steps, began=time.monotonic(), samples=[])
        settle = Phase(name="settling", seconds=plan.settle_s, rps=min(plan.base_rps, 5.0))
        interrupted = False
        try:
            asyncio.run(_drive(run, base, settle, scale.minimum))
        except KeyboardInterrupt:
            interrupted = True
        summary = summarize(run.samples, run.recorder, steps, scale.minimum)
        _write(plan.out, run, summary)
    if interrupted:
        raise KeyboardInterrupt
    return _verdict(summary, plan)


def _target(session: Session, reporter: TerminalReporter, plan: Plan) -> tuple[str, Cluster]:
    toolchain = toolchain_of(session, reporter)
    if session.kube_context is None:
        environment = platform_of(session, toolchain).environment()
        base, prometheus = plan.url or session.endpoints["triton-http"], session.endpoints["prometheus"]
    elif plan.url is None:
        message = (
            "With your own cluster, `make load` needs URL=http://host:port of a Triton Service (NodePort or LoadBalancer) that this "
            "machine reaches: a port-forward would send all requests to one pod."
        )
        raise CommandError(message)
    else:
        environment, base, prometheus = own_environment(session), plan.url, None
    pulumi = session.pulumi(session.bin / "pulumi", session.added_environment(toolchain, environment))
    try:
        get(f"{base}/v2/models/{MODEL}/ready")
    except OSError as error:
        message = f"Model {MODEL} at {base} is unreachable ({error}): no load can be sent. Run `make up` first."
        raise CommandError(message) from error
    return base, Cluster(lambda *arguments: kubectl(pulumi, *arguments), prometheus, NAMESPACE, DEPLOYMENT)


def _announce(base: str, scale: Scale, steps: Sequence[Phase], plan: Plan) -> None:
    rates = ", ".join(f"{phase.rps:g}/s for {phase.seconds:.0f} s" for phase in steps)
    print(
        f"Inferences of model {MODEL} at {base}, each on its own connection: {rates};\n"
        f"then {min(plan.base_rps, 5.0):g}/s until the replicas are back at {scale.minimum} (at most {plan.settle_s:.0f} s). "
        f"Replicas: {scale.ready} ready, {scale.minimum} to {scale.maximum} allowed. Press Ctrl-C to stop.\n",
        flush=True,
    )


def _write(out: Path, run: _Run, summary: Summary) -> None:
    out.mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = {
        "phases": [asdict(phase) for phase in run.plan],
        "summary": asdict(summary),
        "samples": [sample.to_json() for sample in run.samples],
    }
    (out / "load.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    draw.picture(out / "load.png", run.samples, run.recorder.results, run.plan)


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _verdict(summary: Summary, plan: Plan) -> int:
    print(
        f"\n  requests  {summary.requests}, failed {summary.failed}\n"
        f"  latency   p50 {summary.p50_ms:.0f} ms, p99 {summary.p99_ms:.0f} ms, longest {summary.max_ms:.0f} ms (from the due time)\n"
        f"  replicas  {summary.replicas_before} -> {summary.replicas_peak} -> {summary.replicas_after}"
        + (f"; first new pod ready {summary.first_rise_s:.0f} s into the surge" if summary.first_rise_s is not None else "")
        + (f"; back at {summary.minimum} {summary.back_at_minimum_s:.0f} s after it" if summary.back_at_minimum_s is not None else "")
        + f"\n  written   {_short(plan.out)}/load.png, {_short(plan.out)}/load.json"
    )
    for error, count in sorted(summary.errors.items(), key=lambda item: -item[1])[:5]:
        print(f"  failed    {count} times: {error}")
    if summary.failed:
        print("\nFAILED: inferences were lost. See kubectl get events -n triton and the pods' logs.")
    elif not summary.rose:
        print("\nFAILED: the number of replicas never increased. See kubectl describe hpa -n triton.")
    elif summary.back_at_minimum_s is None:
        print(
            f"\nFAILED: the replicas were not back at {summary.minimum} within {plan.settle_s:.0f} s. See kubectl describe hpa -n triton."
        )
    else:
        print("\nNo inference was lost while the replicas rose and fell.")
    return 0 if summary.is_good else 1
