"""What a start of the program costs: which modules each stack loads.

Seconds depend on the machine, modules don't. bench/preview.py has the seconds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.components.conftest import write_gke_plugin, write_kubeconfig

ROOT = Path(__file__).resolve().parents[2]
PROGRAM: Final = """
import asyncio, json, os, runpy, sys
sys.path.insert(0, os.getcwd())
import pulumi, yaml
from pulumi.runtime.proto import callback_pb2
from pulumi.runtime.stack import wait_for_rpcs

ANSWERS = {
    "aws:index/getCallerIdentity:getCallerIdentity": {"accountId": "1", "arn": "arn:aws:sts::1:assumed-role/x/y", "id": "x"},
    "aws:index/getAvailabilityZones:getAvailabilityZones": {"names": ["us-east-1a", "us-east-1b", "us-east-1c"], "id": "x"},
    "aws:eks/getAddonVersion:getAddonVersion": {"version": "v1", "id": "x"},
    "aws:eks/getClusters:getClusters": {"names": [], "id": "x"},
    "aws:cloudwatch/getLogGroups:getLogGroups": {"logGroupNames": [], "id": "x"},
    "aws:ec2/getInstanceType:getInstanceType": {"defaultVcpus": 4, "id": "x"},
    "aws:servicequotas/getServiceQuota:getServiceQuota": {"value": 1e6, "id": "x"},
    "gcp:compute/getZones:getZones": {"names": ["us-central1-a", "us-central1-b"], "id": "x"},
    "gcp:organizations/getProject:getProject": {"number": "1", "id": "x"},
}

class Callbacks:
    def register_transform(self, transform):
        return callback_pb2.Callback(token="t", target="nobody")

async def callbacks():
    return Callbacks()

# As in conftest.py, which brings modules that no program loads.
vars(sys.modules["pulumi.runtime.resource"]).update(_sync_monitor_supports_transforms=lambda: True, _get_callbacks=callbacks)

class Mocks(pulumi.runtime.Mocks):
    def new_resource(self, args):
        outputs = dict(args.inputs)
        if args.typ.startswith("kubernetes:core"):
            outputs["metadata"] = {"name": args.name, **(outputs.get("metadata") or {})}
        return args.name, outputs

    def call(self, args):
        zones = ANSWERS["aws:index/getAvailabilityZones:getAvailabilityZones"]["names"]
        pairs = [(one, zone) for wanted in args.args.get("filters") or [] for one in wanted["values"] for zone in zones]
        offered = {"instanceTypes": [one for one, _ in pairs], "locations": [zone for _, zone in pairs], "id": "x"}
        return {**ANSWERS, "aws:ec2/getInstanceTypeOfferings:getInstanceTypeOfferings": offered}[args.token], []

async def main(stack):
    with open(f"Pulumi.{stack}.yaml") as file:
        config = yaml.safe_load(file)["config"]
    pulumi.runtime.set_mocks(Mocks(), project="triton-fleet", stack=stack, preview=True)
    pulumi.runtime.set_all_config({key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()})
    runpy.run_path("__main__.py", run_name="__main__")
    await wait_for_rpcs()

asyncio.run(main(sys.argv[1]))
print(json.dumps(sorted(sys.modules)))
"""
OWN: Final = {
    "dev": {"boto3", "botocore", "kubernetes"},  # the keys that Triton gets, and whether the cluster answers
    "eks": {"pulumi_aws", "pulumi_eks"},
    "gke": {"pulumi_gcp"},
}
"""What one stack alone uses."""
SDKS: Final = {"boto3", "botocore", "google.cloud", "kubernetes", "pulumi_aws", "pulumi_docker_build", "pulumi_eks", "pulumi_gcp"}
TOOLS: Final = {"PIL", "jinja2", "moto", "numpy", "pytest", "tritonclient", "local", "tests"}
"""What tests and the embedded platform have, and no program."""


@pytest.mark.parametrize("stack", list(OWN))
def test_a_stack_loads_what_it_uses(stack: str, tmp_path: Path) -> None:
    write_gke_plugin(tmp_path)
    known = {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "KUBECONFIG": str(write_kubeconfig(tmp_path, context="x")),
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "hush",
        **{name: value for name, value in os.environ.items() if name.startswith("PYTHON")},
    }
    done = subprocess.run([sys.executable, "-c", PROGRAM, stack], cwd=ROOT, env=known, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    modules = set(json.loads(done.stdout.splitlines()[-1]))
    assert modules & SDKS == OWN[stack]
    assert modules & TOOLS == set()
