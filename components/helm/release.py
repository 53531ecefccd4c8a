"""Installs a third-party chart: a ``helm.v3.Release`` of a pinned version, from the source that the ``charts`` setting names.

A Release and not a ``helm.v4.Chart``: the hooks of these charts must run (webhook certificates, CRD upgrades), and an uninstall must wait
for its objects, so that an APIService is deleted while its backend still runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pulumi
import pulumi_kubernetes as k8s

from components.base import naming
from components.base.errors import FleetError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from components.base.versions import ChartPin
    from components.helm.settings import ChartSettings

_TIMEOUT_SECONDS: Final = 600
"""How long Helm waits for a release to be ready before it rolls back. Its default of 300 s is too short to pull images onto a new node."""
_MAX_HISTORY: Final = 5
"""Revisions that Helm keeps, one Secret each."""


def chart_source(pin: ChartPin, charts: ChartSettings) -> tuple[str, str | None]:
    """Return ``chart`` (a name, an oci:// reference or a path) and ``repository`` of the chart ``pin`` for Helm.

    A folder may hold the chart unpacked (``NAME/Chart.yaml``) or packed (``NAME-VERSION.tgz``). The path stays as written: an absolute path
    would make the state depend on the machine.

    Raises:
        FleetError: When the folder holds neither.
    """
    in_registry = pin.repository.startswith("oci://")
    if charts.source == "upstream":  # Helm takes a registry as part of the chart's name, not as a repository
        return (f"{pin.repository}/{pin.name}", None) if in_registry else (pin.name, pin.repository)
    location = charts.location or ""
    if charts.source == "oci":
        return f"{location.rstrip('/')}/{pin.name}", None
    unpacked, packed = Path(location) / pin.name, Path(location) / f"{pin.name}-{pin.version}.tgz"
    for path, file in ((unpacked, unpacked / "Chart.yaml"), (packed, packed)):
        if file.is_file():
            return str(path), None
    pull = f"helm pull {pin.repository}/{pin.name}" if in_registry else f"helm pull {pin.name} --repo {pin.repository}"
    raise FleetError(
        f"triton-fleet:charts.location ({location}) holds neither {unpacked.name}/Chart.yaml nor {packed.name}: {pin.name} could not be"
        f" installed. Put the chart there ({pull} --version {pin.version}) or correct location."
    )


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
    """Declare the release ``name`` of the chart ``pin`` in ``namespace``. ``skip_crds``: another release installs its CRDs.

    The name is fixed, because Service addresses contain it; a replacement therefore deletes first. A failed first install is rolled back
    (``atomic``), because the next ``up`` could not upgrade a failed release.

    Raises:
        FleetError: When the chart is not in the folder that the settings name.
    """
    chart, repository = chart_source(pin, charts)
    return k8s.helm.v3.Release(
        name,
        k8s.helm.v3.ReleaseArgs(
            name=name,
            chart=chart,
            version=pin.version,
            repository_opts=None if repository is None else k8s.helm.v3.RepositoryOptsArgs(repo=repository),
            namespace=namespace,
            create_namespace=False,
            atomic=True,
            timeout=_TIMEOUT_SECONDS,
            max_history=_MAX_HISTORY,
            values=values,
            skip_crds=skip_crds,
        ),
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(delete_before_replace=True)),
    )


def namespace(name: str, *, component: str, opts: pulumi.ResourceOptions, labels: Mapping[str, str] | None = None) -> k8s.core.v1.Namespace:
    """Declare the Namespace ``name`` for ``component``, in which privileged pods are allowed.

    Node exporters read the host; a cluster whose Pod Security default is stricter would refuse them.
    """
    return k8s.core.v1.Namespace(
        name,
        metadata=k8s.meta.v1.ObjectMetaArgs(
            name=name,
            labels={**naming.labels(component, component), "pod-security.kubernetes.io/enforce": "privileged", **(labels or {})},
        ),
        opts=opts,
    )


def up(value: str, of: k8s.helm.v3.Release) -> pulumi.Output[str]:
    """Return ``value`` as an output that resolves once the release ``of`` is installed.

    It reads the release's name, not its status, because a preview knows the name: a changed release does not make its dependents unknown.
    """
    return of.name.apply(lambda _: value)


def gated(values: Mapping[str, str], of: k8s.helm.v3.Release) -> dict[str, pulumi.Output[str]]:
    """Apply `up` to every value."""
    return {key: up(value, of) for key, value in values.items()}
