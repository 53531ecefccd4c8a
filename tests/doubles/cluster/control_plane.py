"""Starts the control plane of the tests' cluster with kwok and `answers` beside it, in the same namespaces that the embedded platform has.

The node's network has no way out, so that nothing meant for a pod or a Service can leave the machine; kwok's pods have addresses of
the pods' range, which `answers` makes local there. Only the API server is reached from outside, on 127.0.0.1.
"""

from __future__ import annotations

import copy
import json
import sys
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import yaml

from local.platform import CONTROL_PLANE_TOOLS, Platform, PlatformConfig, kubernetes, preflight
from local.platform import config as settings
from local.platform.components import Components
from local.platform.plan import Component
from local.plugins.kubernetes import kubeconfig
from local.plugins.kubernetes.client import Client
from tests.conftest import with_own_ports
from tests.doubles.cluster.loops import Loops

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from local.platform.components import Tools
    from local.platform.layout import Layout

TOOLS: Final = (*CONTROL_PLANE_TOOLS, "kwok")
"""Tools that it needs, by their names in the toolchain."""
_STAGES: Final = Path(__file__).with_name("stages.yaml")


_NAME: Final = "app.kubernetes.io/name"
_READY: Final = "pod-ready"


def stages(text: str, starts: Mapping[str, float]) -> str:
    """The stages with pods that take their time: seconds by the label app.kubernetes.io/name, under an empty name for all others."""
    found = []
    for stage in yaml.safe_load_all(text):
        if stage["metadata"]["name"] != _READY:
            found.append(stage)
            continue
        named = sorted(name for name in starts if name)
        for name in ("", *named):
            one = copy.deepcopy(stage)
            expressions = one["spec"]["selector"]["matchExpressions"]
            path = f'.metadata.labels["{_NAME}"]'
            if name:
                one["metadata"]["name"] = f"{_READY}-{name}"
                expressions.append({"key": path, "operator": "In", "values": [name]})
            elif named:
                expressions.append({"key": path, "operator": "NotIn", "values": named})
            if starts.get(name):
                one["spec"]["delay"] = {"durationMilliseconds": int(starts[name] * 1000)}
            found.append(one)
    return yaml.safe_dump_all(found, sort_keys=False)


class _Components(Components):
    """The embedded platform's control plane with two processes more."""

    def __init__(self, config: PlatformConfig, toolchain: Tools | None, *, starts: Mapping[str, float]) -> None:
        super().__init__(config, toolchain)
        self.starts = starts

    def control_plane(self, inside: Layout) -> list[Component]:
        pki = self.layout.pki
        content = kubernetes.kubeconfig(
            server=kubernetes.APISERVER_URL,
            authority=(pki / "ca.crt").read_bytes(),
            certificate=(pki / "admin.crt").read_bytes(),
            key=(pki / "admin.key").read_bytes(),
            user="admin",
        )
        own = self.layout.component_kubeconfig("doubles")
        own.write_text(json.dumps(content), encoding="utf-8")
        own.chmod(0o600)
        (self.layout.etc / "stages.yaml").write_text(stages(_STAGES.read_text(encoding="utf-8"), self.starts), encoding="utf-8")
        seen = inside.component_kubeconfig("doubles")
        # kwok watches from version 0 on, which the API server takes for a streamed list; those need a newer etcd than distributions have.
        plain = [
            replace(item, argv=(*item.argv, "--feature-gates=WatchList=false")) if item.name == "kube-apiserver" else item
            for item in super().control_plane(inside)
        ]
        return [
            *plain,
            Component(
                name="kwok",
                argv=(
                    self.tool("kwok"),
                    f"--kubeconfig={seen}",
                    f"--config={inside.etc / 'stages.yaml'}",
                    "--manage-all-nodes=true",
                    f"--cidr={settings.POD_CIDR}",
                    f"--node-ip={settings.NODE_IP}",
                    "--node-lease-duration-seconds=40",
                    "--server-address=",
                ),
                environment=self.environment(inside),
                after=("kube-apiserver",),
            ),
            Component(
                name="answers",
                argv=(sys.executable, "-m", "tests.doubles.cluster.answers", str(seen), str(inside.tmp)),
                environment={**preflight.child_environment(), "TMPDIR": str(inside.tmp)},
                after=("kube-apiserver",),
            ),
        ]


class ClusterDouble:
    """The cluster, running."""

    def __init__(self, platform: Platform, doubles: Path) -> None:
        self._platform = platform
        self.kubeconfig = Path(platform.environment()["KUBECONFIG"])
        """With a client certificate of an administrator: stands in for `aws eks get-token`."""
        self.api = Client(kubeconfig.access(kubeconfig.read(str(self.kubeconfig))))
        self.loops = Loops(self.api, doubles)

    def logs(self, component: str) -> str:
        """What a component said."""
        return self._platform.layout.log(component).read_text(encoding="utf-8", errors="replace")


@contextmanager
def start(
    toolchain: Tools, root: Path, doubles: Path, *, instance: str = "cluster", starts: Mapping[str, float] | None = None
) -> Iterator[ClusterDouble]:
    """Start a cluster with its state in ``root``; ``doubles`` is the folder that the cloud's double writes node groups into.

    ``starts`` says how long pods take until they are ready, in seconds (see `stages`); without it they are at once.

    Raises:
        PlatformError: this machine can't run it.
    """
    config = PlatformConfig(instance=instance, control_plane_only=True, root=root)
    platform = Platform(with_own_ports(config), toolchain, components=partial(_Components, starts=starts or {}))
    try:
        platform.start(None)
        cluster = ClusterDouble(platform, doubles)
        cluster.loops.start()
        try:
            yield cluster
        finally:
            cluster.loops.stop()
    finally:
        platform.stop()
