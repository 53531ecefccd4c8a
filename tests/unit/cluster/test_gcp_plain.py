"""What stands in for the slowest modules of the gcp SDK has that SDK's own tokens and names."""

from __future__ import annotations

import importlib
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi._types import input_type_py_to_pulumi_names

from components.cluster import gcp_plain

ROOT = Path(__file__).resolve().parents[3]


def of_sdk(module: str, name: str) -> Any:
    with warnings.catch_warnings():
        # Old names in these modules warn when they are loaded.
        warnings.simplefilter("ignore")
        return getattr(importlib.import_module(f"pulumi_gcp.{module}"), name)


@pytest.mark.parametrize(
    ("inputs", "module", "name"),
    [
        (gcp_plain.NetworkInputs, "compute", "NetworkArgs"),
        (gcp_plain.SubnetworkInputs, "compute", "SubnetworkArgs"),
        (gcp_plain.SecondaryRange, "compute", "SubnetworkSecondaryIpRangeArgs"),
        (gcp_plain.RouterInputs, "compute", "RouterArgs"),
        (gcp_plain.RouterNatInputs, "compute", "RouterNatArgs"),
        (gcp_plain.NatSubnetwork, "compute", "RouterNatSubnetworkArgs"),
        (gcp_plain.NatLog, "compute", "RouterNatLogConfigArgs"),
        (gcp_plain.FirewallInputs, "compute", "FirewallArgs"),
        (gcp_plain.FirewallAllow, "compute", "FirewallAllowArgs"),
        (gcp_plain.BucketIamMemberInputs, "storage", "BucketIAMMemberArgs"),
        (gcp_plain.Condition, "storage", "BucketIAMMemberConditionArgs"),
    ],
)
def test_names_are_the_plugin_s(inputs: Any, module: str, name: str) -> None:
    known = set(input_type_py_to_pulumi_names(of_sdk(module, name)).values())
    assert inputs.__annotations__.keys() <= known


@pytest.mark.parametrize(
    ("token", "module", "name"),
    [
        (gcp_plain.NETWORK, "compute", "Network"),
        (gcp_plain.SUBNETWORK, "compute", "Subnetwork"),
        (gcp_plain.ROUTER, "compute", "Router"),
        (gcp_plain.ROUTER_NAT, "compute", "RouterNat"),
        (gcp_plain.FIREWALL, "compute", "Firewall"),
        (gcp_plain.BUCKET_IAM_MEMBER, "storage", "BucketIAMMember"),
    ],
)
def test_tokens_are_the_plugin_s(token: str, module: str, name: str) -> None:
    assert of_sdk(module, name).pulumi_type == token


def test_tokens_of_functions_are_the_plugin_s() -> None:
    folder = Path(of_sdk("compute", "__file__")).parent
    for token, file in ((gcp_plain.GET_ZONES, "get_zones.py"), (gcp_plain.GET_SUBNETWORK, "get_subnetwork.py")):
        assert f"'{token}'" in (folder / file).read_text(encoding="utf-8")


def test_a_version_is_never_left_open() -> None:
    with pytest.raises(ValueError, match="has no provider"):
        gcp_plain.router("r", {"name": "r", "project": "p", "region": "us-central1", "network": "n"}, pulumi.ResourceOptions())


def test_the_modules_are_not_loaded() -> None:
    """In a process of its own: this one has them loaded by now."""
    script = (
        "import sys\n"
        "from components.cluster import gke, gke_identity, gke_network, gke_pools, gke_registry\n"
        "import pulumi_gcp\n"
        "print(sorted(m for m in sys.modules if m.startswith(('pulumi_gcp.compute.', 'pulumi_gcp.storage.'))))"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
