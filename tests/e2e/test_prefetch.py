"""`prefetch: true` on the dev stack: a pod copies the release before Triton starts, refuses what is not the release's, gets over it.

In a copy of the project with one line added to its stack file, as a user would add it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from local.cli import verify
from tests.servers import PATIENCE_S, eventually

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

    from tests.e2e.instances import Instance

pytestmark = pytest.mark.e2e


@pytest.fixture
def copying(edited: Instance) -> Instance:
    """The instance, serving what the edited stack file says."""
    edited.ensure_served()
    return edited


def is_ready(pod: dict[str, Any]) -> bool:
    return any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", []))


def last_words(pods: list[Any]) -> str:
    """What an init container of ``pods`` said when it ended; empty while none has ended with a word."""
    statuses = [status for pod in pods for status in pod["status"].get("initContainerStatuses", [])]
    words = [state.get("terminated", {}).get("message", "") for status in statuses for state in (status["state"], status["lastState"])]
    return next(filter(None, words), "")


def only_pod(instance: Instance) -> dict[str, Any]:
    """Triton's one pod, when there is only one that stays."""
    return dict(eventually(instance.pods, "a single pod of Triton", lambda found: len(found) == 1)[0])


def test_triton_serves_what_the_init_container_has_copied(copying: Instance) -> None:
    pod = only_pod(copying)
    (copied,) = pod["status"]["initContainerStatuses"]
    assert (copied["name"], copied["state"]["terminated"]["exitCode"]) == ("prefetch", 0)
    assert copied["image"] == "docker.io/rclone/rclone:1.75.2"
    log = f"kubectl logs -n triton {pod['metadata']['name']} -c prefetch 2>&1"
    eventually(lambda: copying.shell(log), "the container's last line", lambda text: "prefetch: done: " in text)
    arguments = pod["spec"]["containers"][0]["args"]
    assert [argument for argument in arguments if "--model-repository" in argument] == ["--model-repository=/models/release"]
    assert verify.infer_http(copying.config.endpoints["triton-http"])


def test_a_changed_object_is_refused_and_after_its_repair_the_pod_starts(copying: Instance, s3: S3Client) -> None:
    (key,) = [
        entry["Key"]
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket="models")
        for entry in page.get("Contents", [])
        if entry["Key"].endswith("/add_sub/1/model.py")
    ]
    good = s3.get_object(Bucket="models", Key=key)["Body"].read()
    s3.put_object(Bucket="models", Key=key, Body=good[:-1] + b"#")
    before = only_pod(copying)
    copying.forget()
    copying.shell(f"kubectl delete pod -n triton {before['metadata']['name']} --wait=true --timeout={PATIENCE_S:.0f}s")

    said = eventually(lambda: last_words(copying.pods()), "the init container's termination message")
    assert "1 files differ from what was published after two copies, such as add_sub-" in said
    assert "Run pulumi refresh and pulumi up" in said
    pod = only_pod(copying)
    assert not pod["status"]["containerStatuses"][0]["ready"]

    # The remedy that it names. The pod itself is tried again by Kubernetes, ever more seldom: a new one is there sooner.
    copying.shell("pulumi refresh --yes --skip-preview --non-interactive")
    assert "1 to update" in copying.shell("pulumi up --yes --non-interactive")
    assert s3.get_object(Bucket="models", Key=key)["Body"].read() == good
    # It may have come back by itself meanwhile: only when it is gone does what is ready and what answers belong to the new one.
    copying.shell(f"kubectl delete pod -n triton {pod['metadata']['name']} --wait=true --timeout={PATIENCE_S:.0f}s")
    eventually(lambda: any(is_ready(one) for one in copying.pods()), "a new pod that is ready")
    base = copying.config.endpoints["triton-http"]
    eventually(lambda: verify.readiness(base), "the model behind the port on loopback", lambda lacks: lacks is None)
    assert verify.infer_http(base)
