"""Images that can't be pulled or hold no server, namespaces that are someone else's, memory that is promised twice."""

from __future__ import annotations

import pytest

from components.base.naming import OTHER_NAMESPACES, RESERVED_NAMESPACES
from components.serving.image import image_problems
from components.serving.settings import ClientSettings, ServingSettings

NVIDIA = "nvcr.io/nvidia/tritonserver"
DIGEST = f"@sha256:{'a' * 64}"
REFUSED = {
    NVIDIA: "NVIDIA publishes no latest. Write one such as nvcr.io/nvidia/tritonserver:26.07-py3.",
    f"{NVIDIA}:latest": "NVIDIA publishes no latest",
    f"{NVIDIA}:26.07": "is a release and not a tag: no node could pull it. Write 26.07-py3.",
    f"{NVIDIA}:24.05.1": "Write 24.05.1-py3.",
    f"{NVIDIA}:23.08-py3": "is older than 23.11",  # nor has it nv_inference_pending_request_count
    f"{NVIDIA}:26.13-py3": "has no tag of NVIDIA's form",
    f"{NVIDIA}:2607-py3": "has no tag of NVIDIA's form",
    f"{NVIDIA}:26.07-py3-sdk": "has the clients and no server: pods would fail at once. Write nvcr.io/nvidia/tritonserver:26.07-py3.",
    f"{NVIDIA}:26.07-py3-igpu-sdk": "has the clients and no server",
    f"{NVIDIA}:26.07-py3-min": "is a base image without a server",
    f"{NVIDIA}:26.07-py3-igpu-min": "is a base image without a server",
    "mirror.example/ai/tritonserver:26.07-py3-sdk": "has the clients and no server",
    "mirror.example:5000/tritonserver:26.07-py3-min": "is a base image without a server",
    f"{NVIDIA}:26.07-py3-sdk{DIGEST}": "has the clients and no server",
    "nvcr.io/tritonserver:26.07-py3": "Did you mean nvcr.io/nvidia/tritonserver:26.07-py3?",
    "nvcr.io/nvidia/triton:26.07-py3": "Did you mean nvcr.io/nvidia/tritonserver:26.07-py3?",
    "nvcr.io/nvidia/triton-inference-server:26.07-py3": "Did you mean nvcr.io/nvidia/tritonserver:26.07-py3?",
    f"https://{NVIDIA}:26.07-py3": "is not an image reference: no node could pull it. Leave out the scheme.",
    f"{NVIDIA}:26.07-py3 ": "is not an image reference",
    "registry.example/Team/triton:1": "is not an image reference",
    f"{NVIDIA}@sha256:abc": "is not an image reference",
}
WARNED = {
    "nvidia/tritonserver:26.07-py3": "Did you mean nvcr.io/nvidia/tritonserver:26.07-py3?",
    "docker.io/nvidia/tritonserver:26.07-py3": "Did you mean nvcr.io/nvidia/tritonserver:26.07-py3?",
    f"{NVIDIA}:26.07-vllm": "Did you mean nvcr.io/nvidia/tritonserver:26.07-vllm-python-py3?",
    f"{NVIDIA}:26.07-trtllm-py3": "Did you mean nvcr.io/nvidia/tritonserver:26.07-trtllm-python-py3?",
    f"{NVIDIA}:26.07-py3-igpu": "is for Jetson's integrated GPUs",
    f"{NVIDIA}:26.07-py": "Did you mean nvcr.io/nvidia/tritonserver:26.07-py3?",
    "registry.example/team/triton": "has no fixed version",
    "registry.example/team/triton:latest": "has no fixed version",
}
ACCEPTED = [
    f"{NVIDIA}:26.07-py3",
    f"{NVIDIA}:24.05.1-py3",
    f"{NVIDIA}:26.07-vllm-python-py3",
    f"{NVIDIA}:26.07-trtllm-python-py3",
    f"{NVIDIA}:26.07-pyt-python-py3",
    f"{NVIDIA}{DIGEST}",
    f"{NVIDIA}:26.07-py3{DIGEST}",
    "nvcr.io/nvaie/tritonserver-4-0:24.03-py3",
    "mirror.example/tritonserver:26.07",
    "123456789012.dkr.ecr.eu-west-1.amazonaws.com/triton:v3",
    "registry.example:5000/a/b__c/tri-ton:v1.2_3",
    "fil",
    "triton-fleet.local/tritonserver:2.51.0-cpu",
]


@pytest.mark.parametrize(("image", "says"), REFUSED.items())
def test_an_image_without_a_server_is_refused(image: str, says: str) -> None:
    (problem,) = image_problems(image)
    assert problem.fatal
    assert str(problem).startswith(f"({image}) ")
    assert says in str(problem)
    with pytest.raises(ValueError, match="image"):
        ServingSettings.model_validate({"image": image})


@pytest.mark.parametrize(("image", "says"), WARNED.items())
def test_an_image_that_is_likely_a_mistake_is_warned_of(image: str, says: str) -> None:
    (problem,) = ServingSettings.model_validate({"image": image}).warnings()
    assert str(problem).startswith(f"image ({image}) ")
    assert says in str(problem)


@pytest.mark.parametrize("image", ACCEPTED)
def test_an_image_that_may_exist_is_accepted(image: str) -> None:
    assert list(image_problems(image)) == []


def test_the_client_needs_perf_analyzer() -> None:
    assert list(ClientSettings().warnings()) == []
    (problem,) = image_problems(f"{NVIDIA}:26.07-py3", client=True)
    assert str(problem).endswith(
        "has no perf_analyzer: the client could not send a request. Write nvcr.io/nvidia/tritonserver:26.07-py3-sdk."
    )
    assert list(image_problems("registry.example/load:3", client=True)) == []


@pytest.mark.parametrize(
    "namespace", sorted({*OTHER_NAMESPACES, *(f"{prefix}system" for prefix in RESERVED_NAMESPACES), "kube-node-lease"})
)
def test_a_namespace_that_others_own_is_refused(namespace: str) -> None:
    with pytest.raises(ValueError, match=rf"namespace \({namespace}\) is .*: the stack could not create it. Choose another."):
        ServingSettings.model_validate({"image": "a/b:1", "namespace": namespace})


@pytest.mark.parametrize("namespace", ["triton", "models", "kube", "gke", "monitoring-ai", "defaults"])
def test_any_other_namespace_is_accepted(namespace: str) -> None:
    ServingSettings.model_validate({"image": "a/b:1", "namespace": namespace})


@pytest.mark.parametrize(
    ("resources", "says", "fatal"),
    [
        ({"shm": "16Gi"}, r"shm \(16Gi\) leaves nothing of memory \(8Gi\).*Raise memory", True),
        ({"shm": "9G", "memory": "8Gi"}, r"shm \(9G\)", True),
        ({"memory": "512Mi"}, r"shm \(1Gi\) leaves nothing of memory \(512Mi\)", True),
        ({"shm": "8192Mi"}, r"shm \(8192Mi\)", False),
        ({"cpu": "4000"}, r"cpu \(4000\) is more CPUs than a node has.*Write 4000m", True),
    ],
)
def test_resources_that_no_pod_can_have(resources: dict[str, str], says: str, fatal: bool) -> None:
    raw = {"image": "a/b:1", "resources": resources}
    if fatal:
        with pytest.raises(ValueError, match=says):
            ServingSettings.model_validate(raw)
    else:
        assert [problem.fatal for problem in ServingSettings.model_validate(raw).warnings()] == [False]


CREDENTIALS = {
    "HF_TOKEN": "hf_abcdefghijklmnop",
    "AWS_SECRET_ACCESS_KEY": "wJalr",
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "NGC_API_KEY": "x",
    "hf-token": "x",
    "DbPassword": "hunter2",
    "DB_URL": "postgres://me:secret@db/x",
    "SETTINGS": "host=a;password=b",
    "GCP": '{"private_key": "-----BEGIN PRIVATE KEY-----"}',
    "OPENAI": "sk-abcdefghijklmnop",
}
HARMLESS = {
    "TOKENIZERS_PARALLELISM": "false",
    "MAX_TOKENS": "512",
    "GOOGLE_APPLICATION_CREDENTIALS": "/etc/secrets/keyfile.json",
    "TLS_KEY_FILE": "/tls/key",
    "USE_TOKEN": "true",
    "HF_TOKEN": "",
    "PASSWORD": "$(OTHER)",
    "OMP_NUM_THREADS": "4",
    "ENDPOINT": "https://example.com/a?b=c",
}


def warned(**fields: object) -> list[str]:
    return [str(problem) for problem in ServingSettings.model_validate({"image": "a/b:1", **fields}).warnings()]


@pytest.mark.parametrize("name", CREDENTIALS)
def test_a_credential_in_env_is_warned_of_by_name_and_never_by_value(name: str) -> None:
    (text,) = warned(env={name: CREDENTIALS[name]})
    assert f"env sets {name}, which looks like a credential" in text
    assert "secretEnv or envFromSecrets" in text
    assert len(CREDENTIALS[name]) == 1 or CREDENTIALS[name] not in text


def test_other_variables_are_not() -> None:
    assert warned(env=HARMLESS) == []


def test_a_credential_in_a_flag_is_warned_of_without_its_value() -> None:
    (text,) = warned(extraArgs=["--cache-config=redis,password=hunter2", "--backend-config=python,shm-default-byte-size=1048576"])
    assert "(--cache-config=…) looks like a credential" in text
    assert "hunter2" not in text
    assert warned(extraArgs=["--cache-config=redis,password=$(REDIS)"]) == []


def test_one_variable_has_one_source() -> None:
    with pytest.raises(ValueError, match="secret_env sets A, as env does"):
        ServingSettings.model_validate({"image": "a/b:1", "env": {"A": "b"}, "secretEnv": {"A": {"name": "s", "key": "k"}}})
