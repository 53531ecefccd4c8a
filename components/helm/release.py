"""Installs a third-party chart: a ``helm.v3.Release`` of a pinned version, from the source that the ``charts`` setting names.

A Release and not a ``helm.v4.Chart``: the hooks of these charts must run (webhook certificates, CRD upgrades), and an uninstall must wait
for its objects, so that an APIService is deleted while its backend still runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pulumi
import pulumi_kubernetes as k8s

from components.base import naming
from components.helm.source import chart_source

if TYPE_CHECKING:
    from collections.abc import Mapping

    from components.base.versions import ChartPin
    from components.helm.settings import ChartSettings

_TIMEOUT_SECONDS: Final = 600
"""How long Helm waits for a release to be ready before it rolls back. Its default of 300 s is too short to pull images onto a new node."""
_MAX_HISTORY: Final = 5
"""Revisions that Helm keeps, one Secret each."""


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
            timeout=_TIMEOUT_SECONDS,
            max_history=_MAX_HISTORY,
            values=values,
            skip_crds=skip_crds,
        ),
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(delete_before_replace=True)),
    )


def namespace(name: str, *, component: str, opts: pulumi.ResourceOptions) -> k8s.core.v1.Namespace:
    """Declare the Namespace ``name`` for ``component``, in which privileged pods are allowed.

    Node exporters read the host; a cluster whose Pod Security default is stricter would refuse them.
    """
    return k8s.core.v1.Namespace(
        name,
        metadata=k8s.meta.v1.ObjectMetaArgs(
            name=name,
            labels={**naming.labels(component, component), "pod-security.kubernetes.io/enforce": "privileged"},
        ),
        opts=opts,
    )


def up(value: str, of: k8s.helm.v3.Release) -> pulumi.Output[str]:
    """Return ``value`` as an output that resolves once the release ``of`` is installed.

    It depends on the release's name and not on its status: a preview knows the name, so a changed release does not turn everything that
    depends on it into unknown values.
    """
    return of.name.apply(lambda _: value)


def gated(values: Mapping[str, str], of: k8s.helm.v3.Release) -> dict[str, pulumi.Output[str]]:
    """Apply `up` to every value."""
    return {key: up(value, of) for key, value in values.items()}
