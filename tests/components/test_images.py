"""Images built and mirrored by an EKS stack, under the SDK's mocks: what is sent to the builder, and who runs the result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pulumi.runtime.stack import wait_for_rpcs

from components.base.errors import FleetError
from components.fleet import TritonFleet, TritonFleetArgs
from components.stack.load import parse
from tests.components.recording import Monitor, of_type, start, waits_for
from tests.components.test_eks import ACCOUNT, ROOT, Mocks, stack_file

if TYPE_CHECKING:
    from pathlib import Path

URL = f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/triton_fil_backend"
DIGEST = f"sha256:{'0' * 64}"


@pytest.fixture
async def monitor(monkeypatch: pytest.MonkeyPatch) -> Monitor:
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    return start(Mocks())


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "models").symlink_to(ROOT / "models")
    (tmp_path / "image").mkdir()
    (tmp_path / "image" / "Dockerfile").write_text("FROM nvcr.io/nvidia/tritonserver:26.07-py3\n")
    return tmp_path


async def up(project: Path, image: dict[str, Any], **more: Any) -> None:
    raw = stack_file("Pulumi.eks-fil.yaml")
    raw["images"] = [{"name": "fil", **image}]
    raw["serving"][0]["image"] = "fil"
    raw |= more
    try:
        TritonFleet("fleet", TritonFleetArgs(settings=parse(raw), project_dir=project))
    finally:
        await wait_for_rpcs()


async def test_a_build_is_pushed_and_run_by_its_digest(monitor: Monitor, project: Path) -> None:
    await up(project, {"kind": "build", "context": "image", "args": {"A": "1"}})
    (image,) = of_type(monitor, "docker-build:index:Image").values()
    assert image["context"] == {"location": "image"}, "relative: the state is the same on every machine"
    assert image["dockerfile"] == {"location": "image/Dockerfile"}
    assert (image["push"], image["buildOnPreview"], image["platforms"]) == (True, False, ["linux/amd64"])
    assert image["buildArgs"] == {"A": "1"}
    (tag,) = image["tags"]
    assert tag.startswith(f"{URL}:fil-")
    (registry,) = image["registries"]["value"]
    assert (registry["address"], registry["username"]) == (URL.split("/", maxsplit=1)[0], "AWS")
    assert "cacheTo" not in image, "docker's own default builder can't"
    (chart,) = of_type(monitor, "kubernetes:helm.sh/v4:Chart").values()
    assert chart["values"]["image"] == f"{URL}@{DIGEST}"
    assert "docker-build:index:Image fil" in waits_for(monitor, "kubernetes:helm.sh/v4:Chart", "triton")
    request = next(request for key, request in monitor.requests.items() if key.startswith("docker-build:index:Image"))
    assert request.retainOnDelete, "a manifest is deleted by its digest, and two tags may have one"


async def test_the_password_is_a_secret(monitor: Monitor, project: Path) -> None:
    await up(project, {"kind": "build", "context": "image"})
    assert "for-half-a-day" not in str(of_type(monitor, "kubernetes:helm.sh/v4:Chart"))
    registries = of_type(monitor, "docker-build:index:Image")["fil"]["registries"]
    assert set(registries) - {"value"}, "wrapped in Pulumi's mark of a secret"


async def test_a_builder_elsewhere_may_keep_layers_in_the_registry(monitor: Monitor, project: Path) -> None:
    await up(project, {"kind": "build", "context": "image", "builder": "farm", "cache": True})
    (image,) = of_type(monitor, "docker-build:index:Image").values()
    assert image["builder"] == {"name": "farm"}
    assert image["cacheFrom"][0]["registry"]["ref"] == image["cacheTo"][0]["registry"]["ref"] == f"{URL}:cache-fil"


async def test_a_mirror_needs_no_builder(monitor: Monitor, project: Path) -> None:
    source = "nvcr.io/nvidia/tritonserver:26.07-py3"
    await up(project, {"kind": "mirror", "source": source}, warmFloor=[{"pool": "gpu-dev", "pods": 1}])
    assert of_type(monitor, "docker-build:index:Image") == {}
    (index,) = of_type(monitor, "docker-build:index:Index").values()
    assert index["sources"] == [source]
    assert index["tag"].startswith(f"{URL}:fil-")
    assert index["push"] is True
    (chart,) = of_type(monitor, "kubernetes:helm.sh/v4:Chart").values()
    assert chart["values"]["image"] == f"{URL}@{DIGEST}"
    floor = of_type(monitor, "kubernetes:apps/v1:Deployment")["placeholder-gpu-dev"]
    (pull,) = floor["spec"]["template"]["spec"]["initContainers"]
    assert pull["image"] == f"{URL}@{DIGEST}", "placeholders pull what Triton runs"


async def test_a_context_that_is_not_there_stops_everything(monitor: Monitor, project: Path) -> None:
    with pytest.raises(FleetError, match=r"triton-fleet:images\[0\].context \(nowhere\) does not exist"):
        await up(project, {"kind": "build", "context": "nowhere"})
    assert monitor.requests == {}
