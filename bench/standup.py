"""How long `pulumi up` of a cloud's stack file takes from nothing, against the references' order and against the longest chain of waits.

Both whole stack files, `eks-fil` and `gke-fil`, run under the real engine with doubles for the clouds and for nodes (tests/doubles), whose
delays are the real clouds', all slowed down by one factor: on AWS control plane 9 min, node group 3 min, add-ons 1 to 2.5 min, NAT gateway
100 s (tests/doubles/aws/delays.py); on Google cluster 9 min, node pool 3 min (tests/doubles/gcp/delays.py); pods 30 s until they are ready,
Triton's 120 s (an image of 10 GB); models uploaded at 100 MB/s. The program, the engine, Helm and this machine are as quick as they are and
not slowed down: at 1/60 they would be half of the whole, at 1/4 their seconds still count four times. So the factor is 1/2 by default:
nine minutes a cloud, and whatever they take counts double, against us.

Three numbers a stack, in seconds of the real cloud:
- measured: wall time of `pulumi up`, divided by the factor.
- chain: the longest way through the graph that Pulumi's state has, by the delays alone. Nothing that keeps this order can be quicker.
- in turn: all the same waits one after another, as the walk-throughs have them done by hand.

Writes bench/results/standup.json; a stack that is left out keeps its last result there. The last line has the ratios; exits with 1 when a
bar is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench.graph import Chain, longest
from bench.standup_clouds import MODELS_GB, POD_S, STACKS, TRITON_S, UPLOAD_MB_S, prepared, wait_of
from tests.engine.clouds.fleet import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

CHAIN_BAR: Final = 1.10
ORDER_BAR: Final = 1.8


@dataclass(frozen=True, kw_only=True)
class Result:
    """One run, in seconds of the real cloud."""

    factor: float
    measured: float
    chain: Chain
    in_turn: float

    @property
    def over_chain(self) -> float:
        """How much longer than the longest chain, as a ratio."""
        return self.measured / self.chain.seconds

    @property
    def order(self) -> float:
        """How many times faster than the same waits one after another."""
        return self.in_turn / self.measured

    def missed(self) -> list[str]:
        """The bars that are missed, in words."""
        missed = []
        if self.over_chain > CHAIN_BAR:
            missed.append(f"{self.over_chain:.2f} times the longest chain, the bar is {CHAIN_BAR:.2f}")
        if self.order < ORDER_BAR:
            missed.append(f"{self.order:.2f} times faster than one after another, the bar is {ORDER_BAR:.1f}")
        return missed

    def content(self) -> dict[str, Any]:
        """The result as it is written down."""
        return {
            "factor": self.factor,
            "measured_s": round(self.measured, 1),
            "chain_s": round(self.chain.seconds, 1),
            "in_turn_s": round(self.in_turn, 1),
            "over_chain": round(self.over_chain, 3),
            "one_after_another": round(self.order, 3),
            "chain": [{"resource": name, "seconds": seconds} for name, seconds in self.chain.steps],
            "missed": self.missed(),
        }


def stand_up(stack: str, factor: float, scratch: Path) -> Result:
    """Bring a stack up once, take it down, and give what was seen."""
    with prepared(stack, factor, scratch) as fleet:
        began = time.monotonic()
        fleet.up()
        took = time.monotonic() - began
        state = fleet.state()
        # Only to leave nothing behind, so at once.
        fleet.environment = {**fleet.environment, "TRITON_FLEET_DOUBLES_PACE": "0"}
        fleet.destroy()
    waits = {str(item["urn"]): wait_of(item) for item in state}
    return Result(factor=factor, measured=took / factor, chain=longest(state, waits), in_turn=sum(waits.values()))


def report(results: dict[str, Result], out: Path) -> int:
    """Write the results, print them, and say whether the bars are met."""
    known: dict[str, Any] = json.loads(out.read_text(encoding="utf-8")).get("stacks", {}) if out.exists() else {}
    for stack, result in results.items():
        print(stack)
        for name, seconds in result.chain.steps:
            print(f"  {seconds:6.0f} s  {name}")
        print(f"longest chain {result.chain.seconds:.0f} s, measured {result.measured:.0f} s, one after another {result.in_turn:.0f} s")
    content = {
        "processors": os.cpu_count(),
        "assumed": {"pod_s": POD_S, "triton_s": TRITON_S, "models_gb": MODELS_GB, "upload_mb_s": UPLOAD_MB_S},
        "bars": {"over_chain": CHAIN_BAR, "one_after_another": ORDER_BAR},
        "stacks": {
            stack: results[stack].content() if stack in results else known[stack] for stack in STACKS if stack in results or stack in known
        },
    }
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    missed = [f"{stack}: {miss}" for stack, result in results.items() for miss in result.missed()]
    for miss in missed:
        print(f"missed: {miss}")
    ratios = (f"{name}-over-chain={one.over_chain:.2f} {name}-one-after-another={one.order:.2f}" for name, one in results.items())
    print(" ".join(ratios))
    return 1 if missed else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m bench.standup", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--factor", type=float, default=1 / 2, help="seconds here for a second of the real clouds")
    parser.add_argument("--stack", action="append", choices=STACKS, help="one stack file alone; may be repeated")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "standup.json")
    options = parser.parse_args(arguments)
    results = {}
    for stack in options.stack or STACKS:
        # Short, and not below the checkout: socket paths inside must stay below 108 bytes.
        scratch = Path(tempfile.mkdtemp(prefix="tfb-"))
        try:
            results[stack] = stand_up(stack, options.factor, scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return report(results, options.out)


if __name__ == "__main__":
    sys.exit(main())
