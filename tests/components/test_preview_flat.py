"""bench/preview_flat registers what the fleet does: otherwise the benchmark would measure programs that do different work."""

from __future__ import annotations

import runpy
from typing import TYPE_CHECKING, Any

import pulumi
import pytest
from pulumi.runtime.stack import wait_for_rpcs

from tests.components.recording import start
from tests.components.test_parity import CLOUDS, MOCKS, build
from tests.engine.clouds.fleet import ROOT, merge_charts, settings_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.components.recording import Monitor

pytestmark = pytest.mark.usefixtures("surroundings")


def arguments(monitor: Monitor) -> set[str]:
    """Return each resource with each of its arguments, and with what it waits for."""
    ours = [(one.type, one.name) for one in monitor.requests.values() if not one.type.startswith("triton-fleet:")]
    given = {f"{kind} {name}, argument {argument}" for kind, name in ours for argument in monitor.inputs(kind, name)}
    return given | {f"{kind} {name} after {' '.join(before)}" for kind, name in ours for before in monitor.waits(kind, name)}


@pytest.mark.parametrize("cloud", CLOUDS)
async def test_the_flat_file_registers_what_the_fleet_does(cloud: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mocks = MOCKS[cloud]()

    def call(args: pulumi.runtime.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        if args.token == "aws:index/getAvailabilityZones:getAvailabilityZones":
            return {"names": ["us-east-1a", "us-east-1b", "us-east-1c"], "id": "zones"}, []
        return type(mocks).call(mocks, args)

    monkeypatch.setattr(mocks, "call", call)
    monkeypatch.setitem(MOCKS, cloud, lambda: mocks)
    charts = str(merge_charts(tmp_path / "charts"))
    settings = {key.removeprefix("triton-fleet:"): value for key, value in settings_of(cloud).items()}
    fleet, _ = await build(cloud, {**settings, "charts": {"source": "folder", "location": charts}})
    flat = start(mocks)
    pulumi.runtime.set_all_config({"triton-fleet:root": str(ROOT), "triton-fleet:charts": charts})
    try:
        runpy.run_path(str(ROOT / "bench" / "preview_flat" / f"{cloud}.py"))
    finally:
        await wait_for_rpcs()
    differences = [f"- {line}" for line in sorted(arguments(flat) - arguments(fleet))]
    differences += [f"+ {line}" for line in sorted(arguments(fleet) - arguments(flat))]
    assert not differences, f"change bench/preview_flat/{cloud}.py:\n" + "\n".join(differences)
