"""Settings that name a host, a registry or an object: a URL, a port or a path where there is none is told at once, with the remedy."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from components.base.errors import FleetError
from components.stack.load import parse

GOOD: dict[str, Any] = {
    "repository": {"bucket": "models"},
    "serving": [{"image": "nvcr.io/nvidia/tritonserver:26.07-py3", "resources": {"gpus": 0, "cpu": "1", "memory": "4Gi"}}],
    "ingress": {"kind": "istio", "domain": "models.example.com", "sourceRanges": ["203.0.113.0/24"]},
    "charts": {"source": "oci", "location": "oci://registry.example.com:5000/team/charts"},
    "prometheus": {"storageClass": "gp3"},
    "client": {"enabled": True, "image": "nvcr.io/nvidia/tritonserver:26.07-py3-sdk"},
}
URL = "https://example.com/"
WRONG = [
    (("ingress", "domain"), [URL, "example.com:443", "example.com/"], "Write only the name"),
    (("ingress", "sourceRanges", 0), [URL, "example.com", "10.0.0.1/8"], "IP network"),
    (
        ("charts", "location"),
        [URL, "oci://https://example.com", "oci://example.com/x:1", "oci://u@example.com", "oci://"],
        "Write it as oci://",
    ),
    (("repository", "endpoint"), ["example.com", URL, "s3://example.com", "https://u:p@example.com"], "Write only scheme, host and port"),
    (("repository", "clusterEndpoint"), ["example.com:9000", "http://example.com/models"], "Write only scheme, host and port"),
    (("repository", "bucket"), ["s3://models", URL, "models/x"], "Use 3 to 63"),
    (("repository", "region"), [URL, "eu west", ""], "Write one such as eu-west-1"),
    (("serving", 0, "image"), [f"https://{GOOD['serving'][0]['image']}", "docker://a/b:1"], "Leave out the scheme"),
    (("serving", 0, "prefetch", "image"), ["https://docker.io/rclone/rclone:1", "docker.io/rclone/rclone:1/", ""], "without a scheme"),
    (("serving", 0, "prefetch", "volume", "storageClass"), [URL, "GP3", "gp3/", ""], "such as gp3"),
    (("client", "image"), ["https://nvcr.io/nvidia/tritonserver:26.07-py3-sdk"], "Leave out the scheme"),
    (("prometheus", "storageClass"), [URL, "GP3", "a b", ""], "such as gp3"),
]


def test_the_file_is_good() -> None:
    parse(GOOD)


@pytest.mark.parametrize(("path", "value", "remedy"), [(path, value, remedy) for path, values, remedy in WRONG for value in values])
def test_what_is_more_than_a_name(path: tuple[str | int, ...], value: str, remedy: str) -> None:
    raw = copy.deepcopy(GOOD)
    here: Any = raw
    for step in path[:-1]:
        here = here.setdefault(step, {}) if isinstance(here, dict) else here[step]
    here[path[-1]] = value
    key = "triton-fleet:" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)[1:]
    with pytest.raises(FleetError) as caught:
        parse(raw)
    (said,) = (str(problem) for problem in caught.value.problems)
    assert said.startswith(f"{key} ({value}) ")
    assert remedy in said
