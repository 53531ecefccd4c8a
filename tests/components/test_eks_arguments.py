"""Every argument of an EKS stack exists in AWS' API, by name and type, nested ones too: checked against botocore's model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from pulumi.runtime.rpc import deserialize_properties

from tests.components.test_eks import POOL, build, cluster_settings, monitor
from tests.doubles import FOLDER_VARIABLE
from tests.doubles.aws.provider import Aws
from tests.doubles.provider import Call, world

if TYPE_CHECKING:
    from pathlib import Path

    from tests.components.recording import Monitor

__all__ = ["monitor"]

BLOCK = {"capacity": "capacityBlock", "capacityReservation": "cr-0a1b2c3d", "zones": ["eu-west-1a"]}
EFA = {"name": "gpu", "machineType": "p4d.24xlarge", "efa": True, "zones": ["eu-west-1b"]}


KINDS: Final[dict[str, dict[str, Any]]] = {
    "ssh and images": {
        "gpuPools": [{**POOL, "ssh": {"key": "mine", "sourceCidrs": ["203.0.113.0/24"]}}],
        "imageRepository": {"name": "triton"},
    },
    "capacity block without NAT": {
        "gpuPools": [{"name": "gpu", "machineType": "p5.48xlarge", **BLOCK}],
        "network": {"kind": "create", "nat": "none"},
    },
    "EFA and endpoints": {"gpuPools": [EFA], "network": {"kind": "create", "nat": "perZone", "interfaceEndpoints": True}},
    "bottlerocket per zone": {"gpuPools": [{**POOL, "os": "bottlerocket", "perZone": True}], "sessionManager": True},
    "Karpenter and keys": {"autoscaler": "karpenter", "diskKey": "create", "logsKey": "create"},
}
"""Cluster settings that together use every argument."""


@pytest.mark.parametrize("settings", list(KINDS.values()), ids=list(KINDS))
async def test_arguments(monitor: Monitor, settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # no request is sent: only arguments are checked
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    arguments = dict(settings)
    autoscaler = arguments.pop("autoscaler", "clusterAutoscaler")
    await build(cluster_settings(**arguments), autoscaler=autoscaler)
    double = Aws(world({FOLDER_VARIABLE: str(tmp_path)}))
    seen = 0
    for key, request in monitor.requests.items():
        token = key.split(" ", 1)[0]
        if token.startswith("aws:"):
            inputs = {name: value for name, value in dict(deserialize_properties(request.object)).items() if value is not None}
            call = Call(world=double.world, operation="check", token=token, name=request.name, inputs=inputs)
            assert not double.check(call).failures, request.name
            seen += 1
    assert seen > 30
