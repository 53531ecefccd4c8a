"""`prefetch: true` on the dev stack: a pod copies the release before Triton starts, refuses what is not the release's, gets over it.

In a copy of the project with one line added to its stack file, as a user would add it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import yaml

from local.cli import verify
from local.platform import Platform, PlatformConfig
from tests.conftest import ROOT, lacks
from tests.e2e.waits import until

if TYPE_CHECKING:
    from collections.abc import Generator

    from mypy_boto3_s3.client import S3Client

pytestmark = pytest.mark.e2e

LIMIT_S = 4200.0  # nothing is waited for: only so that a hang ends; a cold cache takes long
AWHILE_S = 300.0


@dataclass(frozen=True, kw_only=True)
class Project:
    """A checkout of a user's own, and the instance that it runs on."""

    folder: Path
    environment: dict[str, str]
    config: PlatformConfig

    def up(self) -> str:
        return self._run([sys.executable, "-m", "local.cli", "up"])

    def shell(self, line: str) -> str:
        """What a user types after eval "$(make -s env)"."""
        return self._run(["bash", "-c", f'set -eu\neval "$("{sys.executable}" -m local.cli env)"\n{line}'])

    def _run(self, command: list[str]) -> str:
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False, timeout=LIMIT_S)
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def pods(self) -> list[Any]:
        found: list[Any] = json.loads(self.shell("kubectl get pods -n triton -l app.kubernetes.io/name=triton -o json"))["items"]
        return found


@pytest.fixture(scope="module")
def project() -> Generator[Project]:
    home = Path(tempfile.mkdtemp(prefix="tft-"))
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PULUMI_", "KUBE", "TRITON_FLEET_HOME"))
    }
    offset = int(environment.get("TRITON_FLEET_PORT_OFFSET", "4000"))
    environment |= {"TRITON_FLEET_HOME": str(home), "TRITON_FLEET_INSTANCE": "prefetch", "TRITON_FLEET_PORT_OFFSET": str(offset)}
    config = PlatformConfig(instance="prefetch", port_offset=offset, root=home / "prefetch")
    failed = [check for check in Platform(config).preflight() if check.required and not check.ok]
    if failed:
        shutil.rmtree(home)
        lacks(f"this machine can't run the embedded platform: {failed[0]}")
    folder = home / "project"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".git", ".venv", "tests", "bench", "out", ".*_cache", "__pycache__"))
    (folder / ".venv").symlink_to(sys.prefix)
    stack = folder / "Pulumi.dev.yaml"
    content = yaml.safe_load(stack.read_text())
    content["config"]["triton-fleet:serving"][0]["prefetch"] = True
    stack.write_text(yaml.safe_dump(content))
    yield Project(folder=folder, environment=environment, config=config)
    Platform(config).stop()
    shutil.rmtree(home)


@pytest.fixture(scope="module")
def served(project: Project) -> str:
    return project.up()


@pytest.fixture
def s3(project: Project, served: str) -> S3Client:
    environment = json.loads(project.shell(f"{sys.executable} -c 'import json, os; print(json.dumps(dict(os.environ)))'"))
    return boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL_S3"],
        region_name="us-east-1",
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
    )


def is_ready(pod: dict[str, Any]) -> bool:
    return any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", []))


def last_words(pods: list[Any]) -> str:
    """What an init container of ``pods`` said when it ended; empty while none has ended with a word."""
    statuses = [status for pod in pods for status in pod["status"].get("initContainerStatuses", [])]
    words = [state.get("terminated", {}).get("message", "") for status in statuses for state in (status["state"], status["lastState"])]
    return next(filter(None, words), "")


def test_triton_serves_what_the_init_container_has_copied(project: Project, served: str) -> None:
    assert "Triton serves" in served
    (pod,) = project.pods()
    (copied,) = pod["status"]["initContainerStatuses"]
    assert (copied["name"], copied["state"]["terminated"]["exitCode"]) == ("prefetch", 0)
    assert copied["image"] == "docker.io/rclone/rclone:1.75.2"
    log = project.shell(f"kubectl logs -n triton {pod['metadata']['name']} -c prefetch 2>&1")
    assert "prefetch: done: " in log
    arguments = pod["spec"]["containers"][0]["args"]
    assert [argument for argument in arguments if "--model-repository" in argument] == ["--model-repository=/models/release"]
    assert verify.infer_http(project.config.endpoints["triton-http"])


def test_a_changed_object_is_refused_and_after_its_repair_the_pod_starts(project: Project, s3: S3Client) -> None:
    (key,) = [
        entry["Key"]
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket="models")
        for entry in page.get("Contents", [])
        if entry["Key"].endswith("/add_sub/1/model.py")
    ]
    good = s3.get_object(Bucket="models", Key=key)["Body"].read()
    s3.put_object(Bucket="models", Key=key, Body=good[:-1] + b"#")
    (before,) = project.pods()
    project.shell(f"kubectl delete pod -n triton {before['metadata']['name']} --wait=true --timeout={AWHILE_S:.0f}s")

    said: str = until(lambda: last_words(project.pods()), "the last words of the init container")
    assert "1 files are not what was published, twice, such as add_sub-" in said
    assert "Run pulumi refresh and pulumi up" in said
    (pod,) = project.pods()
    assert not pod["status"]["containerStatuses"][0]["ready"]

    # The remedy that it names. The pod itself is tried again by Kubernetes, ever more seldom: a new one is there sooner.
    project.shell("pulumi refresh --yes --skip-preview --non-interactive")
    assert "1 to update" in project.shell("pulumi preview --non-interactive")
    project.shell("pulumi up --yes --skip-preview --non-interactive")
    assert s3.get_object(Bucket="models", Key=key)["Body"].read() == good
    # It may have come back by itself meanwhile: only when it is gone does what is ready and what answers belong to the new one.
    project.shell(f"kubectl delete pod -n triton {pod['metadata']['name']} --wait=true --timeout={AWHILE_S:.0f}s")
    until(
        lambda: any(is_ready(one) for one in project.pods() if one["metadata"]["uid"] != pod["metadata"]["uid"]), "a new pod that is ready"
    )
    base = project.config.endpoints["triton-http"]
    until(lambda: verify.readiness(base) is None, "the model behind the port on loopback")
    assert verify.infer_http(base)
