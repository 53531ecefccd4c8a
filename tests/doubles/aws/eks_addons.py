"""EKS' operations on add-ons."""

from __future__ import annotations

import json
import secrets
import time
from typing import Any, Final

from tests.doubles.aws import delays
from tests.doubles.aws.eks_access import Access
from tests.doubles.aws.eks_rules import ADDONS, NEED_NODES, VERSIONS, EksError, addon_versions
from tests.doubles.aws.eks_things import Cluster, Thing, now

ALWAYS: Final = "NO_SCHEDULE", "NO_EXECUTE"


class Addons(Access):
    """Mixed into `eks_api.Eks`."""

    def describe_addon_versions(self, **options: Any) -> dict[str, Any]:
        names = [options["addonName"]] if options.get("addonName") else list(ADDONS)
        versions = [options["kubernetesVersion"]] if options.get("kubernetesVersion") else list(VERSIONS)
        return {
            "addons": [
                {
                    "addonName": name,
                    "type": "networking",
                    "addonVersions": [
                        {
                            "addonVersion": addon,
                            "compatibilities": [{"clusterVersion": version, "platformVersions": ["*"], "defaultVersion": index == 1}],
                        }
                        for version in versions
                        for index, addon in enumerate(addon_versions(name, version))
                    ],
                }
                for name in names
                if name in ADDONS
            ]
        }

    def create_addon(self, *, clusterName: str, addonName: str, **more: Any) -> dict[str, Any]:  # noqa: N803
        cluster = self.active(clusterName)
        if addonName in cluster.addons and not cluster.addons[addonName].gone:
            raise EksError("ResourceInUseException", "Addon already exists.")
        version = self._addon_version(cluster, addonName, more)
        said = {
            "addonName": addonName,
            "clusterName": clusterName,
            "addonVersion": version,
            "addonArn": self.arn(f"addon/{clusterName}/{addonName}/{secrets.token_hex(8)}"),
            "createdAt": now(),
            "modifiedAt": now(),
            "tags": more.get("tags") or {},
        }
        addon = Thing(said)
        self._set_addon(cluster, addon, more)
        self.start(addon, delays.ADDON_CREATE.get(addonName, delays.ADDON_OTHER))
        cluster.addons[addonName] = addon
        return self.describe_addon(clusterName=clusterName, addonName=addonName)

    def _addon_version(self, cluster: Cluster, name: str, more: dict[str, Any]) -> str:
        if name not in ADDONS:
            raise EksError("InvalidParameterException", f"Addon {name} specified is not supported")
        offered = addon_versions(name, cluster.said["version"])
        version = str(more.get("addonVersion") or offered[1])
        # Add-ons of the version before go on after the cluster's upgrade, until they are updated themselves.
        older = addon_versions(name, VERSIONS[max(VERSIONS.index(cluster.said["version"]) - 1, 0)])
        if version not in (*offered, *older):
            raise EksError("InvalidParameterException", f"Addon version specified is not supported: {name} {version}")
        return version

    def _set_addon(self, cluster: Cluster, addon: Thing, more: dict[str, Any]) -> None:
        values = more.get("configurationValues")
        if values:
            try:
                json.loads(values)
            except ValueError:
                raise EksError("InvalidParameterException", "ConfigurationValue provided in request is not supported") from None
            addon.said["configurationValues"] = values
        if more.get("serviceAccountRoleArn"):
            self.region.role(more["serviceAccountRoleArn"])
            addon.said["serviceAccountRoleArn"] = more["serviceAccountRoleArn"]
        if more.get("podIdentityAssociations") is not None:
            for identity in list(cluster.identities.values()):
                if identity.get("ownerArn") == addon.said["addonArn"]:
                    del cluster.identities[identity["associationId"]]
            for entry in more["podIdentityAssociations"]:
                self.create_pod_identity_association(
                    clusterName=cluster.said["name"], namespace="kube-system", ownerArn=addon.said["addonArn"], **entry
                )
            addon.said["podIdentityAssociations"] = [
                identity["associationArn"] for identity in cluster.identities.values() if identity.get("ownerArn") == addon.said["addonArn"]
            ]

    def describe_addon(self, *, clusterName: str, addonName: str) -> dict[str, Any]:  # noqa: N803
        cluster = self.cluster(clusterName)
        addon = self.member(cluster.addons, addonName, "addon")
        status, issues = addon.status, addon.issues
        if addonName in NEED_NODES and status == "ACTIVE" and not self._schedulable(cluster):
            # A Deployment without a node to run on: EKS waits for it, then says so.
            waited = time.time() >= addon.due + (delays.ADDON_FAILS - delays.ADDON_OTHER) * self.pace
            status = "DEGRADED" if waited else "CREATING"
            issues = [{"code": "InsufficientNumberOfReplicas", "message": "The add-on is unhealthy because it doesn't have enough pods"}]
        return {"addon": {**addon.said, "status": status, "health": {"issues": issues}}}

    @staticmethod
    def _schedulable(cluster: Cluster) -> bool:
        return any(
            group.status in ("ACTIVE", "UPDATING")
            and group.said["scalingConfig"]["desiredSize"] > 0
            and not any(taint["effect"] in ALWAYS for taint in group.said["taints"])
            for group in cluster.groups.values()
        )

    def list_addons(self, *, clusterName: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        return {"addons": sorted(name for name, addon in self.cluster(clusterName).addons.items() if not addon.gone)}

    def update_addon(self, *, clusterName: str, addonName: str, **more: Any) -> dict[str, Any]:  # noqa: N803
        cluster = self.active(clusterName)
        addon = self.member(cluster.addons, addonName, "addon")
        if more.get("addonVersion"):
            addon.said["addonVersion"] = self._addon_version(cluster, addonName, more)
        self._set_addon(cluster, addon, more)
        return self.updating(cluster, addon, "AddonUpdate", delays.ADDON_CREATE.get(addonName, delays.ADDON_OTHER), addonName)

    def delete_addon(self, *, clusterName: str, addonName: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        cluster = self.cluster(clusterName)
        addon = self.member(cluster.addons, addonName, "addon")
        said = self.describe_addon(clusterName=clusterName, addonName=addonName)
        for identity in list(cluster.identities.values()):
            if identity.get("ownerArn") == addon.said["addonArn"]:
                del cluster.identities[identity["associationId"]]
        addon.change("DELETING", self.due(delays.ADDON_DELETE), "DELETED")
        return said
