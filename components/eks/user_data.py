"""User data of GPU nodes: what a node is told before it joins, in the form that its operating system reads. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from components.eks import ami

if TYPE_CHECKING:
    from components.eks.settings.node_groups import GpuPoolSettings

_BOUNDARY: Final = "TRITON-FLEET"


def user_data(pool: GpuPoolSettings) -> str | None:
    """What a node is told before it joins; EKS adds its own part. None where there is nothing to say."""
    return _bottlerocket(pool) if pool.os == "bottlerocket" else _al2023(pool)


def _al2023(pool: GpuPoolSettings) -> str | None:
    parts = []
    if pool.sharing.kind == "mig":
        parts.append(("text/x-shellscript", mig_script(pool.sharing.profile, pool.machine.gpu.mig[pool.sharing.profile])))
    if pool.fast_pull:
        parts.append(("application/node.eks.aws", AL2023_FAST_PULL))
    if not parts:
        return None
    head = f'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="{_BOUNDARY}"\n\n'
    body = "".join(f"--{_BOUNDARY}\nContent-Type: {kind}\n\n{text}\n" for kind, text in parts)
    return f"{head}{body}--{_BOUNDARY}--\n"


def mig_script(profile: str, count: int) -> str:
    """Cut every GPU into ``count`` slices of ``profile``, at each boot and before kubelet: slices don't outlive a reboot.

    Nothing else does it on AL2023, which has no MIG manager. Not tried on such a machine yet.
    """
    slices = ",".join([profile] * count)
    return f"""#!/bin/bash
set -euo pipefail
cat >/usr/local/sbin/cut-gpus <<'END'
#!/bin/bash
set -euo pipefail
nvidia-smi -mig 1
nvidia-smi mig -lgi | grep -q MIG || nvidia-smi mig -cgi {slices} -C
END
chmod 0755 /usr/local/sbin/cut-gpus
cat >/etc/systemd/system/cut-gpus.service <<'END'
[Unit]
Description=Cut GPUs into MIG slices
After=nvidia-persistenced.service
Before=kubelet.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/cut-gpus
[Install]
RequiredBy=kubelet.service
END
systemctl daemon-reload
systemctl enable --now cut-gpus.service
"""


def _bottlerocket(pool: GpuPoolSettings) -> str | None:
    lines: list[str] = []
    plugin = "settings.kubelet-device-plugins.nvidia"
    sharing = pool.sharing
    if sharing.kind == "mig":
        lines += [f"[{plugin}]", 'device-partitioning-strategy = "mig"', "", f"[{plugin}.mig.profile]"]
        lines += [f'"{ami.BOTTLEROCKET_MIG[pool.machine.gpu.name]}" = "{sharing.profile}"', ""]
    elif sharing.kind == "timeSlicing":
        lines += [f"[{plugin}]", 'device-sharing-strategy = "time-slicing"', "", f"[{plugin}.time-slicing]"]
        lines += [f"replicas = {sharing.replicas}", "fail-requests-greater-than-one = true", ""]
    elif sharing.kind == "mps":
        lines += [f"[{plugin}]", 'device-sharing-strategy = "mps"', "", f"[{plugin}.mps]", f"replicas = {sharing.replicas}", ""]
    if pool.fast_pull:
        lines += [BOTTLEROCKET_FAST_PULL]
    return "\n".join(lines) if lines else None


AL2023_FAST_PULL: Final = "---\napiVersion: node.eks.aws/v1alpha1\nkind: NodeConfig\nspec:\n  featureGates:\n    FastImagePull: true\n"
"""NodeConfig that has containerd pull and unpack layers in parallel (SOCI); nodeadm leaves it off on machines under 4 vCPU."""
BOTTLEROCKET_FAST_PULL: Final = (
    '[settings.container-runtime]\nsnapshotter = "soci"\n\n'
    '[settings.container-runtime-plugins.soci-snapshotter]\npull-mode = "parallel-pull-unpack"\n'
)
"""The same for Bottlerocket. Changing the snapshotter wipes the images that a data volume brought."""
DATA_DEVICE: Final = {"al2023": "/dev/xvda", "bottlerocket": "/dev/xvdb"}
"""The device that images are unpacked to. Bottlerocket keeps its system on a small one of its own."""
ROOT_DEVICE: Final = "/dev/xvda"
BOTTLEROCKET_ROOT_GIB: Final = 4
"""Size of Bottlerocket's system volume."""


def fast_pull(system: str) -> str:
    """Give the part of a node's user data that turns parallel pulls on."""
    return BOTTLEROCKET_FAST_PULL if system == "bottlerocket" else AL2023_FAST_PULL
