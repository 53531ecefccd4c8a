"""EKS' operations on access entries, pod identities and tags."""

from __future__ import annotations

import secrets
from typing import Any

from tests.doubles.aws import ACCOUNT
from tests.doubles.aws.eks_rules import EksError
from tests.doubles.aws.eks_things import Base, Cluster, now


class Access(Base):
    """Mixed into `eks_api.Eks`."""

    def create_access_entry(self, *, clusterName: str, principalArn: str, **more: Any) -> dict[str, Any]:  # noqa: N803
        cluster = self.active(clusterName)
        if cluster.said["accessConfig"]["authenticationMode"] == "CONFIG_MAP":
            raise EksError("InvalidRequestException", "The cluster's authentication mode must be set to one of [API, API_AND_CONFIG_MAP]")
        if principalArn in cluster.entries:
            raise EksError("ResourceInUseException", "The specified access entry resource is already in use on this cluster.")
        if f":{ACCOUNT}:role/" in principalArn:
            self.region.role(principalArn)
        kind = more.get("type") or "STANDARD"
        if kind != "STANDARD" and more.get("kubernetesGroups"):
            raise EksError("InvalidParameterException", f"kubernetesGroups can't be set for an entry of type {kind}")
        cluster.entries[principalArn] = {
            "type": kind,
            "kubernetesGroups": more.get("kubernetesGroups") or [],
            "username": more.get("username") or principalArn,
            "tags": more.get("tags") or {},
        }
        return self.describe_access_entry(clusterName=clusterName, principalArn=principalArn)

    def _entry(self, cluster: Cluster, principal: str) -> dict[str, Any]:
        if principal not in cluster.entries:
            raise EksError("ResourceNotFoundException", "The specified principalArn could not be found")
        return cluster.entries[principal]

    def describe_access_entry(self, *, clusterName: str, principalArn: str) -> dict[str, Any]:  # noqa: N803
        entry = self._entry(self.cluster(clusterName), principalArn)
        arn = self.arn(f"access-entry/{clusterName}/{principalArn.rsplit(':', 1)[-1]}")
        said = {"clusterName": clusterName, "principalArn": principalArn, "accessEntryArn": arn, "createdAt": now(), "modifiedAt": now()}
        return {"accessEntry": {**said, **entry}}

    def list_access_entries(self, *, clusterName: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        return {"accessEntries": sorted(self.cluster(clusterName).entries)}

    def update_access_entry(self, *, clusterName: str, principalArn: str, **more: Any) -> dict[str, Any]:  # noqa: N803
        entry = self._entry(self.active(clusterName), principalArn)
        entry.update({key: more[key] for key in ("kubernetesGroups", "username") if more.get(key) is not None})
        return self.describe_access_entry(clusterName=clusterName, principalArn=principalArn)

    def delete_access_entry(self, *, clusterName: str, principalArn: str) -> dict[str, Any]:  # noqa: N803
        cluster = self.cluster(clusterName)
        self._entry(cluster, principalArn)
        del cluster.entries[principalArn]
        cluster.policies.pop(principalArn, None)
        return {}

    def associate_access_policy(
        self,
        *,
        clusterName: str,  # noqa: N803
        principalArn: str,  # noqa: N803
        policyArn: str,  # noqa: N803
        accessScope: dict[str, Any],  # noqa: N803
    ) -> dict[str, Any]:
        cluster = self.active(clusterName)
        self._entry(cluster, principalArn)
        if not policyArn.startswith(f"arn:{self.region.partition}:eks::aws:cluster-access-policy/AmazonEKS"):
            raise EksError("InvalidParameterException", f"The policyArn parameter format is not valid: {policyArn}")
        said = {"policyArn": policyArn, "accessScope": accessScope, "associatedAt": now(), "modifiedAt": now()}
        cluster.policies.setdefault(principalArn, {})[policyArn] = said
        return {"clusterName": clusterName, "principalArn": principalArn, "associatedAccessPolicy": said}

    def list_associated_access_policies(self, *, clusterName: str, principalArn: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        cluster = self.cluster(clusterName)
        self._entry(cluster, principalArn)
        found = list(cluster.policies.get(principalArn, {}).values())
        return {"clusterName": clusterName, "principalArn": principalArn, "associatedAccessPolicies": found}

    def disassociate_access_policy(self, *, clusterName: str, principalArn: str, policyArn: str) -> dict[str, Any]:  # noqa: N803
        cluster = self.cluster(clusterName)
        self._entry(cluster, principalArn)
        if cluster.policies.get(principalArn, {}).pop(policyArn, None) is None:
            raise EksError("ResourceNotFoundException", "The specified policyArn could not be found")
        return {}

    def create_pod_identity_association(self, *, clusterName: str, **more: Any) -> dict[str, Any]:  # noqa: N803
        cluster = self.active(clusterName)
        key = more.get("namespace"), more["serviceAccount"]
        if any((item["namespace"], item["serviceAccount"]) == key for item in cluster.identities.values()):
            raise EksError("ResourceInUseException", f"Association already exists: {key[0]}/{key[1]}")
        self.region.role(more["roleArn"])
        number = f"a-{secrets.token_hex(9)}"
        said = {
            "clusterName": clusterName,
            "associationId": number,
            "associationArn": self.arn(f"podidentityassociation/{clusterName}/{number}"),
            "createdAt": now(),
            "modifiedAt": now(),
            **{name: value for name, value in more.items() if value is not None and name != "clientRequestToken"},
        }
        cluster.identities[number] = said
        return {"association": said}

    def _identity(self, name: str, number: str) -> dict[str, Any]:
        found = self.cluster(name).identities.get(number)
        if found is None:
            raise EksError("ResourceNotFoundException", f"No association found for ID: {number}")
        return found

    def describe_pod_identity_association(self, *, clusterName: str, associationId: str) -> dict[str, Any]:  # noqa: N803
        return {"association": self._identity(clusterName, associationId)}

    def list_pod_identity_associations(self, *, clusterName: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        return {"associations": list(self.cluster(clusterName).identities.values())}

    def update_pod_identity_association(self, *, clusterName: str, associationId: str, **more: Any) -> dict[str, Any]:  # noqa: N803
        found = self._identity(clusterName, associationId)
        if more.get("roleArn"):
            self.region.role(more["roleArn"])
        found.update({key: value for key, value in more.items() if value is not None and key != "clientRequestToken"})
        return {"association": found}

    def delete_pod_identity_association(self, *, clusterName: str, associationId: str) -> dict[str, Any]:  # noqa: N803
        found = self._identity(clusterName, associationId)
        del self.cluster(clusterName).identities[associationId]
        return {"association": found}

    # --- tags

    def _tagged(self, arn: str) -> dict[str, Any]:
        parts = arn.split(":", 5)[5].split("/")
        cluster = self.cluster(parts[1])
        match parts[0]:
            case "cluster":
                return cluster.said
            case "nodegroup":
                return self.member(cluster.groups, parts[2], "node group").said
            case "addon":
                return self.member(cluster.addons, parts[2], "addon").said
            case "podidentityassociation":
                return self._identity(parts[1], parts[2])
            case _:
                principal = next(name for name in cluster.entries if name.endswith("/".join(parts[2:])))
                return cluster.entries[principal]

    def tag_resource(self, *, resourceArn: str, tags: dict[str, str]) -> dict[str, Any]:  # noqa: N803
        said = self._tagged(resourceArn)
        said["tags"] = {**(said.get("tags") or {}), **tags}
        return {}

    def untag_resource(self, *, resourceArn: str, tagKeys: list[str]) -> dict[str, Any]:  # noqa: N803
        said = self._tagged(resourceArn)
        said["tags"] = {key: value for key, value in (said.get("tags") or {}).items() if key not in tagKeys}
        return {}

    def list_tags_for_resource(self, *, resourceArn: str) -> dict[str, Any]:  # noqa: N803
        return {"tags": self._tagged(resourceArn).get("tags") or {}}
