"""Types of what keeps things: rings and keys of KMS, registries of images, buckets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.doubles.gcp.account_kinds import snake
from tests.doubles.gcp.api import document
from tests.doubles.gcp.expand import NEVER, expand
from tests.doubles.gcp.kinds import Context, Kind, refused, saying, saying_but_gone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.doubles.gcp.api import Body
    from tests.doubles.provider import Props

# --- KMS


@dataclass(frozen=True, kw_only=True)
class RingKind(Kind):
    """A key ring. Destroying it takes it out of the state alone."""

    def create(self, context: Context, inputs: Props) -> tuple[str, Body]:
        identity = self.identity(context, inputs)
        parent, _, name = identity.rpartition("/keyRings/")
        with saying("Error creating KeyRing"):
            return identity, context.ask(f"{self.methods}.create", {"parent": parent, "keyRingId": name}, {})

    def get(self, context: Context, identity: str, inputs: Props) -> Body:
        return context.ask(f"{self.methods}.get", {"name": identity})

    def delete(self, context: Context, identity: str, state: Props) -> None:
        context.call.note(f"KMS KeyRing resources cannot be deleted from Google Cloud; {identity} leaves the state and stays there")


@dataclass(frozen=True, kw_only=True)
class CryptoKeyKind(Kind):
    """A key. Destroying it destroys its versions; the name stays taken."""

    def identity(self, context: Context, inputs: Props) -> str:
        return f"{inputs['keyRing']}/cryptoKeys/{inputs['name']}"

    def body(self, inputs: Props) -> Body:
        made = super().body(inputs)
        if "rotationPeriod" in made:
            # The provider computes it from the present; any time to come will do.
            made["nextRotationTime"] = "2030-01-01T00:00:00Z"
        return made

    def problems(self, inputs: Props) -> Iterator[tuple[str, str]]:
        period = inputs.get("rotationPeriod")
        if isinstance(period, str) and (not re.fullmatch(r"\d+(\.\d{1,9})?s", period) or float(period[:-1]) < _DAY_S):
            yield "rotationPeriod", "rotation period must be greater than or equal to 86400s"

    def create(self, context: Context, inputs: Props) -> tuple[str, Body]:
        parameters = {"parent": str(inputs["keyRing"]), "cryptoKeyId": str(inputs["name"])}
        with saying("Error creating CryptoKey"):
            return self.identity(context, inputs), context.ask(f"{self.methods}.create", parameters, self.body(inputs))

    def get(self, context: Context, identity: str, inputs: Props) -> Body:
        return context.ask(f"{self.methods}.get", {"name": identity})

    def update(self, context: Context, identity: str, inputs: Props, changed: set[str]) -> None:
        body = self.body(inputs)
        sent = {key: value for key, value in body.items() if key in changed or (key == "nextRotationTime" and "rotationPeriod" in changed)}
        with saying("Error updating CryptoKey"):
            context.ask(f"{self.methods}.patch", {"name": identity, "updateMask": ",".join(sorted(sent))}, sent)

    def delete(self, context: Context, identity: str, state: Props) -> None:
        with saying_but_gone("Error deleting CryptoKey"):
            context.ask(f"{self.methods}.cryptoKeyVersions.destroy", {"name": f"{identity}/cryptoKeyVersions/1"}, {})


_DAY_S: Final = 86400
KEY_RING: Final = RingKind(
    token="gcp:kms/keyRing:KeyRing",
    api="cloudkms",
    schema="KeyRing",
    methods="cloudkms.projects.locations.keyRings",
    name="projects/{project}/locations/{location}/keyRings/{name}",
    names=dict.fromkeys(("project", "location", "name"), NEVER),
    replaces=("location", "name", "project"),
    computed=("project",),
    outputs={"name": lambda _, inputs: inputs["name"]},
)
CRYPTO_KEY: Final = CryptoKeyKind(
    token="gcp:kms/cryptoKey:CryptoKey",
    api="cloudkms",
    schema="CryptoKey",
    methods="cloudkms.projects.locations.keyRings.cryptoKeys",
    name="",
    names={"name": NEVER, "keyRing": NEVER, "deletionPolicy": NEVER, "skipInitialVersionCreation": NEVER},
    replaces=(
        "keyRing",
        "name",
        "cryptoKeyBackend",
        "destroyScheduledDuration",
        "importOnly",
        "purpose",
        "versionTemplate.protectionLevel",
    ),
    defaults={"purpose": "ENCRYPT_DECRYPT"},
    computed=("cryptoKeyBackend", "destroyScheduledDuration", "importOnly", "versionTemplate"),
    outputs={
        "name": lambda _, inputs: inputs["name"],
        "primaries": lambda body, _: [{"name": body["primary"]["name"], "state": "ENABLED"}],
    },
    labels="labels",
)


# --- registries and buckets


@dataclass(frozen=True, kw_only=True)
class RepositoryKind(Kind):
    """A registry."""

    def body(self, inputs: Props) -> Body:
        made = super().body({**inputs, "cleanupPolicies": None})
        policies = inputs.get("cleanupPolicies")
        if policies:
            # A list to the program, a map by id to Google.
            api = document(self.api)
            described = api.schema("CleanupPolicy")
            made["cleanupPolicies"] = {item["id"]: expand(api, described, item, {}) for item in policies}
        return made

    def create(self, context: Context, inputs: Props) -> tuple[str, Body]:
        identity = self.identity(context, inputs)
        parent, _, name = identity.rpartition("/repositories/")
        with saying("Error creating Repository"):
            operation = context.ask(f"{self.methods}.create", {"parent": parent, "repositoryId": name}, self.body(inputs))
            refused(context.finish(operation["name"]), "creating Repository")
            return identity, self.get(context, identity, inputs)

    def get(self, context: Context, identity: str, inputs: Props) -> Body:
        return context.ask(f"{self.methods}.get", {"name": identity})

    def update(self, context: Context, identity: str, inputs: Props, changed: set[str]) -> None:
        body = self.body(inputs)
        mask = ",".join(sorted(snake(key) for key in changed))
        sent = {key: value for key, value in body.items() if key in changed or key == "format"}
        with saying("Error updating Repository"):
            context.ask(f"{self.methods}.patch", {"name": identity, "updateMask": mask}, sent)

    def delete(self, context: Context, identity: str, state: Props) -> None:
        with saying_but_gone("Error deleting Repository"):
            operation = context.ask(f"{self.methods}.delete", {"name": identity})
            refused(context.finish(operation["name"]), "deleting Repository")


REPOSITORY: Final = RepositoryKind(
    token="gcp:artifactregistry/repository:Repository",
    api="artifactregistry",
    schema="Repository",
    methods="artifactregistry.projects.locations.repositories",
    name="projects/{project}/locations/{location}/repositories/{repositoryId}",
    names={
        "project": NEVER,
        "location": NEVER,
        "repositoryId": NEVER,
        "deletionPolicy": NEVER,
        "vulnerabilityScanningConfig.enablementConfig": "enablementConfig",
    },
    replaces=("format", "repositoryId", "kmsKeyName", "location", "mode", "remoteRepositoryConfig", "project"),
    name_property="repositoryId",
    defaults={"mode": "STANDARD_REPOSITORY"},
    computed=("location", "project", "vulnerabilityScanningConfig"),
    outputs={"name": lambda body, _: body["name"].rsplit("/", 1)[-1]},
    labels="labels",
)


@dataclass(frozen=True, kw_only=True)
class BucketKind(Kind):
    """A bucket, without its objects."""

    def body(self, inputs: Props) -> Body:
        made = super().body({key: value for key, value in inputs.items() if key != "lifecycleRules"})
        rules = []
        for rule in inputs.get("lifecycleRules") or []:
            condition = {key: value for key, value in rule["condition"].items() if key not in ("withState", "sendAgeIfZero")}
            condition |= (
                {"isLive": rule["condition"]["withState"] == "LIVE"} if rule["condition"].get("withState") not in (None, "ANY") else {}
            )
            rules.append({"action": dict(rule["action"]), "condition": condition})
        if rules:
            described = document("storage").schema("Bucket")["properties"]["lifecycle"]
            made["lifecycle"] = expand(document("storage"), described, {"rule": rules}, {})
        return made

    def create(self, context: Context, inputs: Props) -> tuple[str, Body]:
        with saying("Error creating Bucket"):
            made = context.ask("storage.buckets.insert", {"project": context.place(inputs)["project"]}, self.body(inputs))
        return str(inputs["name"]), made

    def get(self, context: Context, identity: str, inputs: Props) -> Body:
        return context.ask("storage.buckets.get", {"bucket": identity})

    def update(self, context: Context, identity: str, inputs: Props, changed: set[str]) -> None:
        sent = {key: value for key, value in self.body(inputs).items() if key not in ("name", "location")}
        with saying("Error updating Bucket"):
            context.ask("storage.buckets.patch", {"bucket": identity}, sent)

    def delete(self, context: Context, identity: str, state: Props) -> None:
        with saying_but_gone("Error deleting Bucket"):
            context.ask("storage.buckets.delete", {"bucket": identity})


BUCKET: Final = BucketKind(
    token="gcp:storage/bucket:Bucket",
    api="storage",
    schema="Bucket",
    methods="storage.buckets",
    name="{name}",
    names={
        "project": NEVER,
        "forceDestroy": NEVER,
        "deletionPolicy": NEVER,
        "enableObjectRetention": NEVER,
        "requesterPays": "billing.requesterPays",
        "uniformBucketLevelAccess": "iamConfiguration.uniformBucketLevelAccess.enabled",
        "publicAccessPrevention": "iamConfiguration.publicAccessPrevention",
    },
    replaces=("name", "location", "project", "enableObjectRetention", "customPlacementConfig", "hierarchicalNamespace"),
    defaults={"forceDestroy": False, "storageClass": "STANDARD"},
    computed=("project", "publicAccessPrevention", "rpo", "softDeletePolicy", "uniformBucketLevelAccess", "versioning"),
    choices={"publicAccessPrevention": ("enforced", "inherited")},
    outputs={"url": lambda body, _: f"gs://{body['name']}"},
    labels="labels",
)

KINDS: Final[tuple[Kind, ...]] = (KEY_RING, CRYPTO_KEY, REPOSITORY, BUCKET)
