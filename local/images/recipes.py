"""The list of images. Everything comes from packages and the toolchain; nothing is pulled from a registry."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from components.base.versions import RCLONE_IMAGE
from local.images.errors import ImageError
from local.images.oci import ImageConfig
from local.images.programs import pause_layers, program, rclone_layers
from local.images.triton import exporter_layers, triton_layers

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.images.layers import LayerPlan, Tools

REGISTRY: Final = "triton-fleet.local"
"""Not a real host: if an image is missing on a node, the pod fails at once instead of trying the internet."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One image."""

    name: str
    """Name and tag, without the registry."""
    tools: tuple[str, ...]
    """Tools that must be available before ``layers`` is called."""
    layers: Callable[[Tools], list[LayerPlan]]
    config: ImageConfig
    mebibytes: int
    """Approximate size, for estimates."""
    registry: str = REGISTRY
    """Registry in the image's reference; a publisher's own if stacks use the publisher's reference by default."""
    on_request: bool = False
    """Built only when it is named: not every stack runs it."""

    @property
    def reference(self) -> str:
        """Full name, as pods use it."""
        return f"{self.registry}/{self.name}"


_RCLONE: Final = RCLONE_IMAGE.rpartition("/")
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TEXT: Final = {"LANG": "C.UTF-8"}

RECIPES: Final[tuple[Recipe, ...]] = (
    # The sandbox of every pod and cluster DNS come first: nothing runs without them.
    Recipe(
        name="pause:3.10",
        tools=(),
        layers=pause_layers,
        config=ImageConfig(entrypoint=("/pause",), user="65534:65534", environment={"PATH": _PATH}, title="pause", version="3.10"),
        mebibytes=3,
    ),
    Recipe(
        name="coredns:v1.15.0",
        tools=("coredns",),
        layers=program("coredns", "coredns"),
        # root, like upstream's before file capabilities: port 53 needs CAP_NET_BIND_SERVICE, which only root keeps across exec.
        config=ImageConfig(entrypoint=("/coredns",), ports=(53,), environment={"PATH": "/"}, title="coredns", version="1.15.0"),
        mebibytes=80,
    ),
    Recipe(
        name="tritonserver:2.51.0-cpu",
        tools=(),
        layers=triton_layers,
        config=ImageConfig(
            entrypoint=("/opt/nvidia/nvidia_entrypoint.sh",),
            environment={
                "PATH": f"/opt/tritonserver/bin:{_PATH}",
                "LD_LIBRARY_PATH": "/opt/tritonserver/lib",
                "TRITON_SERVER_VERSION": "2.51.0",
                "NVIDIA_TRITON_SERVER_VERSION": "24.10",
                # OpenBLAS would start one thread per processor of the machine in every model's process, whatever the pod's limit.
                "OPENBLAS_NUM_THREADS": "1",
                **_TEXT,
            },
            folder="/opt/tritonserver",
            ports=(8000, 8001, 8002),
            title="tritonserver",
            version="2.51.0",
        ),
        mebibytes=230,
    ),
    Recipe(
        name="prometheus:v3",
        tools=("prometheus", "promtool"),
        layers=program("prometheus", "bin/prometheus", "prometheus", "etc/prometheus", also=(("promtool", "bin/promtool"),)),
        config=ImageConfig(
            entrypoint=("/bin/prometheus",),
            command=("--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"),
            user="65534",
            folder="/prometheus",
            ports=(9090,),
            environment={"PATH": _PATH},
            title="prometheus",
            version="3",
        ),
        mebibytes=250,
    ),
    Recipe(
        name="prometheus-operator:v0.85.0",
        tools=("prometheus-operator",),
        layers=program("prometheus-operator", "bin/operator"),
        config=ImageConfig(
            entrypoint=("/bin/operator",), user="65534", environment={"PATH": _PATH}, title="prometheus-operator", version="0.85.0"
        ),
        mebibytes=60,
    ),
    Recipe(
        name="prometheus-config-reloader:v0.85.0",
        tools=("prometheus-config-reloader",),
        layers=program("prometheus-config-reloader", "bin/prometheus-config-reloader"),
        config=ImageConfig(
            entrypoint=("/bin/prometheus-config-reloader",),
            user="65534",
            environment={"PATH": _PATH},
            title="prometheus-config-reloader",
            version="0.85.0",
        ),
        mebibytes=40,
    ),
    Recipe(
        name="prometheus-adapter:v0.12.0",
        tools=("prometheus-adapter",),
        layers=program("prometheus-adapter", "adapter"),
        # No entrypoint: the upstream chart's arguments start with /adapter.
        config=ImageConfig(command=("/adapter",), user="65534", environment={"PATH": "/"}, title="prometheus-adapter", version="0.12.0"),
        mebibytes=70,
    ),
    Recipe(
        name="dcgm-exporter:stand-in",
        tools=(),
        layers=exporter_layers,
        config=ImageConfig(
            entrypoint=("/usr/local/dcgm/dcgm-exporter-entrypoint.sh",),
            environment={"PATH": _PATH, **_TEXT},
            ports=(9400,),
            title="dcgm-exporter stand-in",
            version="stand-in",
        ),
        mebibytes=40,
    ),
    Recipe(
        # Same name, program, shell and paths as the publisher's, so that a stack needs only `prefetch: true`.
        name=_RCLONE[2],
        registry=_RCLONE[0],
        tools=("rclone",),
        layers=rclone_layers,
        config=ImageConfig(
            entrypoint=("rclone",),
            environment={"PATH": _PATH, "XDG_CONFIG_HOME": "/config"},
            folder="/data",
            title="rclone",
            version=_RCLONE[2].partition(":")[2],
        ),
        mebibytes=90,
        on_request=True,
    ),
)


def architecture(machine: str | None = None) -> str:
    """Return the OCI name of this machine's architecture (or of ``machine``, uname's name).

    Raises:
        ImageError: it is neither x86-64 nor 64-bit ARM.
    """
    name = machine or os.uname().machine
    known = {"x86_64": "amd64", "aarch64": "arm64"}
    if name not in known:
        raise ImageError(
            f"Images can't be built for {name}: Triton exists for x86_64 and aarch64. Use your own cluster: `make up KUBE_CONTEXT=...`."
        )
    return known[name]
