"""Where the charts of other publishers come from: their own repositories, an OCI registry, or a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.base.errors import FleetError, collect, raise_problems

if TYPE_CHECKING:
    from collections.abc import Iterable

    from components.base.errors import Problem
    from components.base.versions import ChartPin
    from components.helm.settings import ChartSettings


@dataclass(frozen=True, kw_only=True)
class ChartSource:
    """Where Helm finds one chart."""

    chart: str
    """A name in ``repository``, an oci:// reference, or a path."""
    version: str
    repository: str | None = None


def chart_source(pin: ChartPin, charts: ChartSettings) -> ChartSource:
    """Return where the chart of ``pin`` comes from under ``charts``.

    A folder may hold the chart unpacked (``NAME/Chart.yaml``) or packed (``NAME-VERSION.tgz``). The path stays as written: an absolute path
    would make the state depend on the machine.

    Raises:
        FleetError: When the folder holds neither.
    """
    in_registry = pin.repository.startswith("oci://")
    if charts.source == "upstream":
        if in_registry:  # Helm takes a registry as part of the chart's name, not as a repository
            return ChartSource(chart=f"{pin.repository}/{pin.name}", version=pin.version)
        return ChartSource(chart=pin.name, version=pin.version, repository=pin.repository)
    location = charts.location or ""
    if charts.source == "oci":
        return ChartSource(chart=f"{location.rstrip('/')}/{pin.name}", version=pin.version)
    unpacked, packed = Path(location) / pin.name, Path(location) / f"{pin.name}-{pin.version}.tgz"
    if (unpacked / "Chart.yaml").is_file():
        return ChartSource(chart=str(unpacked), version=pin.version)
    if packed.is_file():
        return ChartSource(chart=str(packed), version=pin.version)
    pull = f"helm pull {pin.repository}/{pin.name}" if in_registry else f"helm pull {pin.name} --repo {pin.repository}"
    message = (
        f"triton-fleet:charts.location ({location}) holds neither {unpacked.name}/Chart.yaml nor {packed.name}: {pin.name} could not be"
        f" installed. Put the chart there ({pull} --version {pin.version}) or correct location."
    )
    raise FleetError(message)


def check_charts(charts: ChartSettings, pins: Iterable[ChartPin]) -> None:
    """Check that every chart of ``pins`` can be found under ``charts``.

    Raises:
        FleetError: Charts are missing from the folder; the message lists all of them.
    """
    problems: list[Problem] = []
    for pin in pins:
        with collect(problems):
            chart_source(pin, charts)
    raise_problems(problems)
