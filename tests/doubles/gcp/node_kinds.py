"""What clusters and node pools have in common in the plugin: the configuration of nodes, and how GKE's operations are waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tests.doubles.gcp.expand import NEVER
from tests.doubles.gcp.kinds import refused

if TYPE_CHECKING:
    from tests.doubles.gcp.api import Body
    from tests.doubles.gcp.kinds import Context

CLUSTERS: Final = "container.projects.locations.clusters"
POOLS: Final = f"{CLUSTERS}.nodePools"
NAME_LENGTH: Final = 40
OF_THE_PLUGIN: Final = {"deletionProtection", "deletionPolicy", "removeDefaultNodePool", "skipNodePoolRefresh", "ignoreNodeCountChanges"}


def node_names(path: str) -> dict[str, str]:
    """Names of a node configuration at a path."""
    return {
        f"{path}.{key}": target
        for key, target in {
            "guestAccelerators": "accelerators",
            "guestAccelerators.count": "acceleratorCount",
            "guestAccelerators.type": "acceleratorType",
            "loggingVariant": "loggingConfig.variantConfig.variant",
            "gpudirectStrategy": "gpuDirectConfig.gpuDirectStrategy",
            "resourceManagerTags": "resourceManagerTags.tags",
            "linuxNodeConfig.hugepagesConfig": "hugepages",
            "effectiveTaints": NEVER,
            "windowsNodeConfig.osversion": "osVersion",
        }.items()
    }


NODE_CHOICES: Final = {
    "guestAccelerators.gpuDriverInstallationConfig.gpuDriverVersion": (
        "GPU_DRIVER_VERSION_UNSPECIFIED",
        "INSTALLATION_DISABLED",
        "DEFAULT",
        "LATEST",
    ),
    "taints.effect": ("NO_SCHEDULE", "PREFER_NO_SCHEDULE", "NO_EXECUTE"),
    "workloadMetadataConfig.mode": ("MODE_UNSPECIFIED", "GCE_METADATA", "GKE_METADATA"),
    "reservationAffinity.consumeReservationType": (
        "UNSPECIFIED",
        "NO_RESERVATION",
        "ANY_RESERVATION",
        "SPECIFIC_RESERVATION",
        "ANY_RESERVATION_THEN_FAIL",
    ),
    "localSsdEncryptionMode": ("STANDARD_ENCRYPTION", "EPHEMERAL_KEY_ENCRYPTION"),
}
NODE_REPLACES: Final = (
    "guestAccelerators",
    "localSsdCount",
    "ephemeralStorageConfig",
    "ephemeralStorageLocalSsdConfig",
    "localNvmeSsdBlockConfig",
    "secondaryBootDisks",
    "metadata",
    "minCpuPlatform",
    "oauthScopes",
    "preemptible",
    "reservationAffinity",
    "spot",
    "serviceAccount",
    "shieldedInstanceConfig",
    "sandboxConfig",
    "bootDiskKmsKey",
    "nodeGroup",
    "advancedMachineFeatures",
    "soleTenantConfig",
    "hostMaintenancePolicy",
    "confidentialNodes.confidentialInstanceType",
    "enableConfidentialStorage",
    "localSsdEncryptionMode",
    "maxRunDuration",
    "flexStart",
)


def below(path: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{path}.{name}" for name in names)


def finish(context: Context, operation: Body, what: str) -> None:
    refused(context.finish(operation["name"]), what)


def sent_nodes(config: Any) -> Any:
    """A node configuration as it is sent: of several secondary boot disks the provider sends the first alone."""
    if isinstance(config, dict) and len(config.get("secondaryBootDisks") or []) > 1:
        return {**config, "secondaryBootDisks": config["secondaryBootDisks"][:1]}
    return config


NO_STOCK: Final = (
    "Google Compute Engine: The zone does not have enough resources available to fulfill the request. "
    "Try a different zone, or try again later. (ZONE_RESOURCE_POOL_EXHAUSTED)"
)


def doom(context: Context, identity: str, message: str) -> None:
    """Let what is about to be made turn out broken, where a fault wants it."""
    broken = context.call.broken
    if broken is not None:
        context.google.doom(identity, broken.message or message, broken.delay)
