"""charts/triton/files/prefetch.sh as the pod runs it: real rclone, busybox as in rclone's image, against a real S3 server."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
import pytest

from tests.servers import PATIENCE_S, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mypy_boto3_s3.client import S3Client

    from local.toolchain import Toolchain

BUCKET = "fleet"
KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}


@pytest.fixture
def endpoint(s3_server: str) -> str:
    return s3_server


@pytest.fixture
def s3(endpoint: str) -> Iterator[S3Client]:
    client = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="testing", aws_secret_access_key="testing"
    )
    client.create_bucket(Bucket=BUCKET)
    yield client
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        for entry in page.get("Contents", []):
            client.delete_object(Bucket=BUCKET, Key=entry["Key"])
    client.delete_bucket(Bucket=BUCKET)


@pytest.fixture(scope="session")
def programs(tool: Callable[[str], Path], toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with rclone and busybox's applets: all that the script may find."""
    from local.images.packages import add_deb  # noqa: PLC0415
    from local.images.tree import Tree  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("programs")
    (folder / "rclone").symlink_to(tool("rclone"))
    tree = Tree()
    for deb in toolchain.debs("busybox-static"):
        add_deb(tree, deb)
    (place,) = {"usr/bin/busybox", "bin/busybox"} & {path for path, _ in tree.items()}
    busybox = folder / "busybox"
    busybox.write_bytes(tree.read(place))
    busybox.chmod(0o755)
    for applet in subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split():
        if applet != "busybox":
            (folder / applet).symlink_to("busybox")
    return folder


@dataclass
class Pod:
    """The init container: its volume, its environment and its end."""

    script: str
    programs: Path
    folder: Path
    environment: dict[str, str]
    output: str = ""

    @property
    def release(self) -> Path:
        return self.folder / "volume" / "release"

    @property
    def message(self) -> str:
        path = self.folder / "termination-log"
        return path.read_text().strip() if path.exists() else ""

    def start(self, **more: str) -> subprocess.Popen[str]:
        (self.folder / "volume").mkdir(exist_ok=True)
        (self.folder / "tmp").mkdir(exist_ok=True)
        environment = {
            "PATH": str(self.programs),
            "HOME": str(self.folder / "tmp"),
            "VOLUME": str(self.folder / "volume"),
            "MESSAGE": str(self.folder / "termination-log"),
            "PARALLELISM": "8",
            "MODELS": "",
            "RCLONE_RETRIES": "1",
            "RCLONE_LOW_LEVEL_RETRIES": "1",
            **self.environment,
            **more,
        }
        return subprocess.Popen(
            [self.programs / "sh", "-c", self.script], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def run(self, **more: str) -> int:
        process = self.start(**more)
        self.output, _ = process.communicate(timeout=PATIENCE_S)
        return process.returncode

    def files(self) -> dict[str, bytes]:
        return {str(path.relative_to(self.release)): path.read_bytes() for path in sorted(self.release.rglob("*")) if path.is_file()}


def publish(s3: S3Client, content: dict[str, bytes], prefix: str = "models") -> str:
    """Put a release of these files where `components.repository` puts it; its digest."""
    lines = {path: f"{hashlib.sha256(body).hexdigest()} {len(body)} {path}\n" for path, body in sorted(content.items())}
    models: dict[str, str] = {}
    for path, line in lines.items():
        model = path.split("/", 1)[0]
        models[model] = models.get(model, "") + line
    for path, body in content.items():
        model = path.split("/", 1)[0]
        tree = f"{model}-{hashlib.sha256(models[model].encode()).hexdigest()[:16]}"
        s3.put_object(Bucket=BUCKET, Key=f"{prefix}/models/{tree}/{path}", Body=body)
    sums = "".join(lines.values()).encode()
    digest = hashlib.sha256(sums).hexdigest()
    s3.put_object(Bucket=BUCKET, Key=f"{prefix}/.manifests/{digest}.sums", Body=sums)
    return digest


def key_of(s3: S3Client, path: str) -> str:
    keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=BUCKET)["Contents"] if entry["Key"].endswith(f"/{path}")]
    (key,) = keys
    return key


CONTENT = {
    "add_sub/1/model.py": b"print(1)\n" * 100,
    "add_sub/config.pbtxt": b'name: "add_sub"\n',
    "pipeline/1/.triton-fleet-empty": b"",
    "pipeline/config.pbtxt": b'name: "pipeline"\n',
    "upper/1/weights with  spaces, ünïcode & $(rm -rf).bin": os.urandom(300_000),
    "upper/1/[glob]*{a,b}.bin": os.urandom(1000),
    "upper/config.pbtxt": b'name: "upper"\n',
}


@pytest.fixture
def pod(project: Path, programs: Path, endpoint: str, tmp_path: Path) -> Pod:
    return Pod(
        script=(project / "charts" / "triton" / "files" / "prefetch.sh").read_text(),
        programs=programs,
        folder=tmp_path,
        environment={
            **KEYS,
            "BASE": f":s3:{BUCKET}/models",
            "RCLONE_S3_ENV_AUTH": "true",
            "RCLONE_S3_PROVIDER": "Other",
            "RCLONE_S3_ENDPOINT": endpoint,
            "RCLONE_S3_REGION": "us-east-1",
        },
    )


def test_the_whole_release_arrives_and_nothing_else_lies_there(pod: Pod, s3: S3Client) -> None:
    digest = publish(s3, CONTENT)
    assert pod.run(RELEASE=digest) == 0, pod.output
    assert pod.files() == CONTENT
    assert [path.name for path in (pod.folder / "volume").iterdir()] == ["release"]
    assert "done: 7 files" in pod.output
    assert pod.message == ""


def test_only_the_models_asked_for(pod: Pod, s3: S3Client) -> None:
    digest = publish(s3, CONTENT)
    assert pod.run(RELEASE=digest, MODELS="upper add_sub") == 0, pod.output
    assert pod.files() == {path: body for path, body in CONTENT.items() if not path.startswith("pipeline/")}


def test_a_second_run_fetches_nothing_and_verifies_again(pod: Pod, s3: S3Client) -> None:
    digest = publish(s3, CONTENT)
    assert pod.run(RELEASE=digest) == 0, pod.output
    inode = (pod.release / "upper" / "config.pbtxt").stat().st_ino
    assert pod.run(RELEASE=digest) == 0, pod.output
    assert (pod.release / "upper" / "config.pbtxt").stat().st_ino == inode
    assert pod.files() == CONTENT


def test_what_a_killed_run_has_left_is_replaced_where_it_is_wrong(pod: Pod, s3: S3Client) -> None:
    digest = publish(s3, CONTENT)
    assert pod.run(RELEASE=digest) == 0, pod.output
    same_size = bytearray(CONTENT["upper/1/[glob]*{a,b}.bin"])
    same_size[500] ^= 1
    (pod.release / "upper/1/[glob]*{a,b}.bin").write_bytes(same_size)  # a block that never reached the disk
    (pod.release / "add_sub/config.pbtxt").write_bytes(b"")
    (pod.release / "add_sub/2").mkdir()
    (pod.release / "add_sub/2/model.py").write_bytes(b"import os\n")  # Triton would serve this version
    assert pod.run(RELEASE=digest) == 0, pod.output
    assert pod.files() == CONTENT
    assert "copying them again" in pod.output


def test_objects_that_were_put_beside_are_not_served(pod: Pod, s3: S3Client) -> None:
    digest = publish(s3, CONTENT)
    s3.put_object(Bucket=BUCKET, Key=key_of(s3, "add_sub/config.pbtxt").replace("config.pbtxt", "9/model.py"), Body=b"import os")
    assert pod.run(RELEASE=digest) == 0, pod.output
    assert pod.files() == CONTENT
    assert "removed, not part of the release" in pod.output


def test_a_changed_object_is_refused_and_named(pod: Pod, s3: S3Client) -> None:
    digest = publish(s3, CONTENT)
    s3.put_object(Bucket=BUCKET, Key=key_of(s3, "add_sub/1/model.py"), Body=b"print(2)\n" * 100)
    assert pod.run(RELEASE=digest) == 1
    assert re.search(
        r"1 files differ from what was published after two copies, such as add_sub-[0-9a-f]{16}/add_sub/1/model.py", pod.message
    ), pod.message
    assert "pulumi refresh" in pod.message
    assert not pod.release.exists() or pod.files() == {}, "nothing that Triton could read"


def test_a_missing_object_is_refused_and_named(pod: Pod, s3: S3Client) -> None:
    digest = publish(s3, CONTENT)
    s3.delete_object(Bucket=BUCKET, Key=key_of(s3, "add_sub/1/model.py"))
    assert pod.run(RELEASE=digest) == 1
    assert "add_sub/1/model.py" in pod.message


def test_a_list_that_was_changed_is_refused(pod: Pod, s3: S3Client) -> None:
    digest = publish(s3, CONTENT)
    other = publish(s3, {**CONTENT, "upper/config.pbtxt": b"evil"})
    sums = s3.get_object(Bucket=BUCKET, Key=f"models/.manifests/{other}.sums")["Body"].read()
    s3.put_object(Bucket=BUCKET, Key=f"models/.manifests/{digest}.sums", Body=sums)
    assert pod.run(RELEASE=digest) == 1
    assert f"has the SHA-256 {other}, not the release's" in pod.message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"RELEASE": "0" * 64}, r"(can't be read|is missing or empty): .+ pulumi up"),
        ({"BASE": ":s3:nowhere/models"}, r"can't be read: .*(NoSuchBucket|not found).*identity may read the bucket"),
        ({"RCLONE_S3_ENDPOINT": "http://127.0.0.1:9"}, r"can't be read: .*connection refused.*network"),
        ({"MODELS": "upper nope"}, r"The release has no model nope: Triton would not start"),
    ],
)
def test_what_is_wrong_is_said_in_the_pods_status(pod: Pod, s3: S3Client, change: dict[str, str], said: str) -> None:
    digest = publish(s3, CONTENT)
    assert pod.run(**{"RELEASE": digest, **change}) == 1
    assert re.search(said, pod.message), (pod.message, pod.output)
    assert pod.message in pod.output


def test_a_volume_without_room_is_told_before_anything_is_copied(pod: Pod, s3: S3Client) -> None:
    digest = publish(s3, CONTENT)
    # A function: busybox' shell prefers its own applets to what is on PATH.
    pod.script = "df() { echo head; echo /dev/x 1000 990 10 99% /models; }\n" + pod.script
    assert pod.run(RELEASE=digest) == 1
    assert re.search(r"has 10 KiB free, and the models need 295 KiB.*prefetch.volume.size", pod.message), pod.message


def test_it_ends_soon_after_sigterm_and_a_restart_goes_on(pod: Pod, s3: S3Client) -> None:
    content = {**CONTENT, "upper/1/big.bin": os.urandom(6 << 20)}
    digest = publish(s3, content)
    process = pod.start(RELEASE=digest, RCLONE_BWLIMIT="128k", PARALLELISM="1")
    eventually(lambda: list((pod.folder / "volume").rglob("*.prefetch")), "a file on its way", process=process)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 143, output
    assert pod.run(RELEASE=digest) == 0, pod.output
    assert pod.files() == content
    assert not list((pod.folder / "volume").rglob("*.prefetch"))
