"""One way to install a third-party chart: a ``helm.v3.Release`` of a pinned version, from the one place that the ``charts`` setting names.

A Release and not a ``helm.v4.Chart``: the hooks of these charts must run (webhook certificates, CRD upgrades) and an uninstall must wait,
so that an APIService is gone while what serves it still runs. Nothing here knows what a chart's values mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import pulumi
import pulumi_kubernetes as k8s
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from components.base import naming
from components.base.errors import FleetError, Problem, collect, raise_problems

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from components.base.versions import ChartPin
    from components.helm.settings import ChartSettings

TIMEOUT_SECONDS: Final = 600
"""How long Helm waits for a release to be ready before it rolls back. Its default of 300 s is short for images pulled onto a new node."""
_MAX_HISTORY: Final = 5
"""Revisions that Helm keeps, one Secret each; its default keeps ten in one driver and all of them in another."""


class ChartValues(BaseModel):
    """Base of a chart's typed values: frozen, no unknown fields, camelCase in the chart."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True, defer_build=True)

    def to_helm(self) -> dict[str, Any]:
        """Give the values as the chart takes them. A field that is None is left out, so that the chart's own default stands."""
        return self.model_dump(by_alias=True, exclude_none=True)


class Toleration(ChartValues):
    """A pod's toleration of one taint, whatever its value."""

    key: str
    operator: Literal["Exists", "Equal"] = "Exists"
    effect: str = "NoSchedule"


class ContainerResources(ChartValues):
    """A container's ``resources``, as Kubernetes has it."""

    requests: dict[str, str]
    limits: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class ChartSource:
    """Where Helm finds one chart."""

    chart: str
    """Name inside ``repository``, an oci:// reference, or a path."""
    version: str
    repository: str | None


def chart_source(pin: ChartPin, charts: ChartSettings) -> ChartSource:
    """Say where the chart of ``pin`` comes from under ``charts``.

    A folder is looked at now: it may hold the chart unpacked (``NAME/Chart.yaml``) or packed (``NAME-VERSION.tgz``), and the path stays
    as it was written, because an absolute one would make the state of two machines differ. Raises FleetError where it holds neither.
    """
    if charts.source == "upstream":
        if pin.repository.startswith("oci://"):  # Helm takes a registry in the chart's own name, not as a repository
            return ChartSource(chart=f"{pin.repository}/{pin.name}", version=pin.version, repository=None)
        return ChartSource(chart=pin.name, version=pin.version, repository=pin.repository)
    location = charts.location or ""
    if charts.source == "oci":
        return ChartSource(chart=f"{location.rstrip('/')}/{pin.name}", version=pin.version, repository=None)
    unpacked, packed = Path(location) / pin.name, Path(location) / f"{pin.name}-{pin.version}.tgz"
    if (unpacked / "Chart.yaml").is_file():
        return ChartSource(chart=str(unpacked), version=pin.version, repository=None)
    if packed.is_file():
        return ChartSource(chart=str(packed), version=pin.version, repository=None)
    message = (
        f"triton-fleet:charts.location ({location}) holds neither {unpacked.name}/Chart.yaml nor {packed.name}: {pin.name} could not be"
        f" installed. Put the chart there (helm pull {_pulled(pin)} --version {pin.version}) or correct location."
    )
    raise FleetError(message)


def _pulled(pin: ChartPin) -> str:
    return f"{pin.repository}/{pin.name}" if pin.repository.startswith("oci://") else f"{pin.name} --repo {pin.repository}"


def check_charts(charts: ChartSettings, pins: Iterable[ChartPin]) -> None:
    """See that every chart of ``pins`` can be found under ``charts``. Raises FleetError with all that are missing from a folder."""
    problems: list[Problem] = []
    for pin in pins:
        with collect(problems):
            chart_source(pin, charts)
    raise_problems(problems)


def release(
    name: str,
    *,
    pin: ChartPin,
    charts: ChartSettings,
    namespace: str,
    values: Mapping[str, Any],
    opts: pulumi.ResourceOptions,
    skip_crds: bool | None = None,
) -> k8s.helm.v3.Release:
    """Declare the release ``name`` of the chart ``pin`` in ``namespace``; ``skip_crds`` where another release brings its CRDs.

    The name is fixed, because the addresses of Services are made of it. A first install that fails is taken back (``atomic``): it would
    else stay as a failed release that the next ``up`` trips over. Replacing it deletes first, because the name is taken.
    """
    source = chart_source(pin, charts)
    return k8s.helm.v3.Release(
        name,
        k8s.helm.v3.ReleaseArgs(
            name=name,
            chart=source.chart,
            version=source.version,
            repository_opts=None if source.repository is None else k8s.helm.v3.RepositoryOptsArgs(repo=source.repository),
            namespace=namespace,
            create_namespace=False,
            atomic=True,
            timeout=TIMEOUT_SECONDS,
            max_history=_MAX_HISTORY,
            values=values,
            skip_crds=skip_crds,
        ),
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(delete_before_replace=True)),
    )


def namespace(name: str, *, component: str, opts: pulumi.ResourceOptions) -> k8s.core.v1.Namespace:
    """Declare the Namespace ``name`` for ``component``, open to privileged pods.

    Node exporters read the host and are refused where Pod Security admission enforces a stricter default.
    """
    return k8s.core.v1.Namespace(
        name,
        metadata=k8s.meta.v1.ObjectMetaArgs(
            name=name,
            labels={**naming.labels(component, component), "pod-security.kubernetes.io/enforce": "privileged"},
        ),
        opts=opts,
    )


def gated(values: Mapping[str, str], of: k8s.helm.v3.Release) -> dict[str, pulumi.Output[str]]:
    """Hand out ``values`` only when the release ``of`` is up; see `up`."""
    return {key: up(value, of) for key, value in values.items()}


def up(value: str, of: k8s.helm.v3.Release) -> pulumi.Output[str]:
    """Hand out ``value`` only when the release ``of`` is up.

    Gated on the release's name and not on its status: the name is known in a preview, so that a change of the release doesn't make
    everything behind it unknown there.
    """
    return of.name.apply(lambda _: value)


def after(value: pulumi.Output[str], *resources: pulumi.Resource) -> pulumi.Output[Sequence[pulumi.Input[pulumi.Resource]]]:
    """Make a ``depends_on`` of a handle's output and ``resources``: an output brings the resources that it comes from along."""
    return value.apply(lambda _: list(resources))


def duration(seconds: float) -> str:
    """Write ``seconds`` as both Prometheus and Go read it: ``500ms``, ``5s``, ``90s``. Rounded up to a millisecond."""
    milliseconds = math.ceil(round(seconds * 1000, 6))
    return f"{milliseconds // 1000}s" if milliseconds % 1000 == 0 else f"{milliseconds}ms"
