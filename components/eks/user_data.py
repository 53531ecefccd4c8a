"""User data of GPU nodes: how a node is configured before it joins, in the format of its operating system. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from components.eks import ami

if TYPE_CHECKING:
    from collections.abc import Mapping

    from components.eks.ami import OperatingSystem
    from components.eks.settings.node_groups import GpuPoolSettings

_BOUNDARY: Final = "TRITON-FLEET"
_FAST_PULL: Final[Mapping[OperatingSystem, str]] = {
    "al2023": "---\napiVersion: node.eks.aws/v1alpha1\nkind: NodeConfig\nspec:\n  featureGates:\n    FastImagePull: true\n",
    "bottlerocket": '[settings.container-runtime]\nsnapshotter = "soci"\n\n'
    '[settings.container-runtime-plugins.soci-snapshotter]\npull-mode = "parallel-pull-unpack"\n',
}
"""Makes containerd pull and unpack layers in parallel (SOCI). nodeadm ignores it on machines with fewer than 4 vCPU; on Bottlerocket the
changed snapshotter discards the images of a data volume."""


def user_data(pool: GpuPoolSettings) -> str | None:
    """Return the user data of a node group's nodes, to which EKS adds its own part; None if there is nothing to configure."""
    return _bottlerocket(pool) if pool.os == "bottlerocket" else _al2023(pool)


def fast_pull(system: OperatingSystem) -> str:
    """Return the part of the user data that turns parallel pulls on."""
    return _FAST_PULL[system]


def _al2023(pool: GpuPoolSettings) -> str | None:
    parts = []
    if pool.sharing.kind == "mig":
        parts.append(("text/x-shellscript", mig_script(pool.sharing.profile, pool.machine.gpu.mig[pool.sharing.profile])))
    if pool.fast_pull:
        parts.append(("application/node.eks.aws", fast_pull("al2023")))
    if not parts:
        return None
    head = f'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="{_BOUNDARY}"\n\n'
    body = "".join(f"--{_BOUNDARY}\nContent-Type: {kind}\n\n{text}\n" for kind, text in parts)
    return f"{head}{body}--{_BOUNDARY}--\n"


def mig_script(profile: str, count: int) -> str:
    """Return a script that cuts every GPU into ``count`` slices of ``profile`` at each boot, because a reboot removes slices.

    It runs before kubelet starts. AL2023 doesn't include a MIG manager. Not tested on such a machine yet.
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
    """Shares keep the name ``nvidia.com/gpu``: by default Bottlerocket calls them ``nvidia.com/gpu.shared``, which no pod requests."""
    lines: list[str] = []
    plugin = "settings.kubelet-device-plugins.nvidia"
    sharing = pool.sharing
    if sharing.kind == "mig":
        lines += [f"[{plugin}]", 'device-partitioning-strategy = "mig"', "", f"[{plugin}.mig.profile]"]
        lines += [f'"{ami.BOTTLEROCKET_MIG[pool.machine.gpu.name]}" = "{sharing.profile}"', ""]
    elif sharing.kind == "timeSlicing":
        lines += [f"[{plugin}]", 'device-sharing-strategy = "time-slicing"', "", f"[{plugin}.time-slicing]"]
        lines += [f"replicas = {sharing.replicas}", "rename-by-default = false", "fail-requests-greater-than-one = true", ""]
    elif sharing.kind == "mps":
        lines += [f"[{plugin}]", 'device-sharing-strategy = "mps"', "", f"[{plugin}.mps]"]
        lines += [f"replicas = {sharing.replicas}", "rename-by-default = false", ""]
    if pool.fast_pull:
        lines.append(fast_pull("bottlerocket"))
    return "\n".join(lines) if lines else None
