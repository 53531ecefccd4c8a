"""Draw the run: lines of text during it, out/load.png afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from local.load.arrivals import Phase
    from local.load.client import Result
    from local.load.sampler import Sample

_BLOCKS: Final = " ▁▂▃▄▅▆▇█"
HEADER: Final = "   time  replicas          req/s   queue time    pending       p50       p99  failed"


def spark(values: Sequence[float | None], width: int, top: float | None = None) -> str:
    """Draw the last ``width`` values as blocks: a gap for None, a full block for ``top`` (the largest value by default)."""
    shown = list(values)[-width:]
    highest = top if top is not None else max((value for value in shown if value is not None), default=0.0)
    if highest <= 0:
        highest = 1.0
    steps = len(_BLOCKS) - 1
    return "".join(" " if value is None else _BLOCKS[max(0, min(steps, round(value / highest * steps)))] for value in shown)


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "-" if value is None else f"{value:{form}}{unit}"


def line(sample: Sample) -> str:
    """One line of the table."""
    replicas = "?" if sample.replicas is None else f"{'■' * (sample.ready or 0)}{'□' * max(0, sample.replicas - (sample.ready or 0))}"
    wanted = "" if sample.desired in {None, sample.replicas} else f"->{sample.desired}"
    count = "-" if sample.replicas is None else str(sample.replicas)
    return (
        f"  {sample.t:5.0f}s  {count:>2}{wanted:<4}{replicas:<10} {sample.rps:6.0f} {_number(sample.queue_ms, '9.1f', ' ms'):>12}"
        f" {_number(sample.pending, '6.0f'):>10} {sample.p50_ms:6.0f} ms {sample.p99_ms:6.0f} ms {sample.failed:7d}"
    )


def dashboard(samples: Sequence[Sample], phase: str, maximum: int, width: int) -> list[str]:
    """Lines for a terminal, redrawn in place."""
    last = samples[-1]
    room = max(10, min(width - 30, 100))
    rows: list[tuple[str, list[float | None], float | None, str]] = [
        ("replicas ready", [s.ready for s in samples], float(maximum), f"{_number(last.ready, 'd')} of {_number(last.replicas, 'd')}"),
        ("requests/s", [s.rps for s in samples], None, f"{last.rps:.0f}"),
        ("queue time", [s.queue_ms for s in samples], None, _number(last.queue_ms, ".0f", " ms")),
        ("pending", [s.pending for s in samples], None, _number(last.pending, ".0f")),
        ("latency p99", [s.p99_ms for s in samples], None, f"{last.p99_ms:.0f} ms"),
    ]
    lines = [f"{last.t:4.0f} s  {phase}  failed: {last.failed}"]
    lines += [f"{name:<15}{spark(values, room, top):<{room}} {now}" for name, values, top, now in rows]
    return [text[: width - 1] for text in lines]


def picture(path: Path, samples: Sequence[Sample], results: Sequence[Result], plan: Sequence[Phase]) -> None:
    """Write the run as a PNG with replicas, queue and latency over time."""
    import matplotlib as mpl  # noqa: PLC0415 (takes a second to import)

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, (replicas, queue, latency) = plt.subplots(3, 1, sharex=True, figsize=(10, 8), layout="constrained")
    times = [sample.t for sample in samples]

    def series(name: str) -> list[float]:
        return [float("nan") if (value := getattr(sample, name)) is None else float(value) for sample in samples]

    replicas.step(times, series("replicas"), where="post", label="replicas", color="tab:blue")
    replicas.step(times, series("ready"), where="post", label="ready", color="tab:green")
    replicas.step(times, series("desired"), where="post", label="desired by the HPA", color="tab:orange", linestyle=":")
    replicas.set_ylabel("pods")
    replicas.set_ylim(bottom=0)
    replicas.legend(loc="upper right")
    queue.plot(times, series("queue_ms"), color="tab:red", label="queue time [ms]")
    queue.set_ylabel("queue time [ms]")
    queue.set_ylim(bottom=0)
    pending = queue.twinx()
    pending.plot(times, series("pending"), color="tab:purple", alpha=0.6, label="pending requests")
    pending.set_ylabel("pending requests")
    pending.set_ylim(bottom=0)
    queue.legend(handles=[*queue.get_lines(), *pending.get_lines()], loc="upper right")
    good = [result for result in results if result.error is None]
    bad = [result for result in results if result.error is not None]
    latency.scatter([r.due for r in good], [r.latency * 1000 for r in good], s=3, alpha=0.3, color="tab:blue", label="answered")
    if bad:
        latency.scatter([r.due for r in bad], [r.latency * 1000 for r in bad], s=16, color="tab:red", marker="x", label="failed")
    latency.set_yscale("log")
    latency.set_ylabel("latency from due time [ms]")
    latency.set_xlabel("seconds")
    latency.legend(loc="upper right")
    begin = 0.0
    for phase in plan:
        if phase.name == "surge":
            for axis in (replicas, queue, latency):
                axis.axvspan(begin, begin + phase.seconds, color="tab:orange", alpha=0.08)
        begin += phase.seconds
    surge = max(plan, key=lambda phase: phase.rps)
    replicas.set_title(
        f"Triton under {surge.rps:g} requests per second for {surge.seconds:.0f} s: {len(results)} requests, {len(bad)} failed"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
