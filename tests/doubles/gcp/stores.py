"""What keeps things, in memory: keys of KMS, registries of images, and buckets, which are little more than a name and a policy."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from tests.doubles.gcp import delays
from tests.doubles.gcp.accounts import has_role, policies, policy_of, set_policy
from tests.doubles.gcp.compute import ZONES
from tests.doubles.gcp.session import PROJECT_NUMBER, GoogleError, Session, handles, invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.doubles.gcp.api import Body

_BUCKET: Final = re.compile(r"^[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]$")
_REPOSITORY: Final = re.compile(r"^[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?$")
_REPOSITORY_S: Final = delays.REPOSITORY
"""Seconds that a registry takes."""

policies("artifactregistry.projects.locations.repositories", "resource")
policies("cloudkms.projects.locations.keyRings.cryptoKeys", "resource")
policies("cloudkms.projects.locations.keyRings", "resource")


def may_use_key(session: Session, key: str, account: str) -> None:
    """Refuse a key that is not there or that Google's own account may not use. Raises GoogleError."""
    if key not in session.things:
        raise invalid(f"Cloud KMS key {key!r} does not exist.")
    if not has_role(session, key, "roles/cloudkms.cryptoKeyEncrypterDecrypter", f"serviceAccount:{account}"):
        raise invalid(f"Cloud KMS Key {key} is not usable by {account}: grant it roles/cloudkms.cryptoKeyEncrypterDecrypter on the key.")


# --- KMS


@handles("cloudkms.projects.locations.keyRings.create")
def create_ring(session: Session, parameters: Mapping[str, str], _: Body) -> Body:
    """Make a key ring. Nothing ever deletes it."""
    name = f"{parameters['parent']}/keyRings/{parameters['keyRingId']}"
    if name in session.things:
        raise GoogleError(409, f"KeyRing {name} already exists.", "alreadyExists")
    return session.add(name, {"name": name, "createTime": session.stamp()})


@handles("cloudkms.projects.locations.keyRings.get")
def get_ring(session: Session, parameters: Mapping[str, str], _: Body) -> Body:
    """A key ring."""
    return session.get(parameters["name"])


@handles("cloudkms.projects.locations.keyRings.cryptoKeys.create")
def create_crypto_key(session: Session, parameters: Mapping[str, str], body: Body) -> Body:
    """Make a key with its first version."""
    session.get(parameters["parent"])
    name = f"{parameters['parent']}/cryptoKeys/{parameters['cryptoKeyId']}"
    if name in session.things:
        raise GoogleError(409, f"CryptoKey {name} already exists.", "alreadyExists")
    if body.get("rotationPeriod") and not body.get("nextRotationTime"):
        raise invalid("rotation_period needs next_rotation_time.")
    version = {"name": f"{name}/cryptoKeyVersions/1", "state": "ENABLED", "protectionLevel": "SOFTWARE", "createTime": session.stamp()}
    return session.add(name, {"purpose": "ENCRYPT_DECRYPT", **body, "name": name, "createTime": session.stamp(), "primary": version})


@handles("cloudkms.projects.locations.keyRings.cryptoKeys.get")
def get_crypto_key(session: Session, parameters: Mapping[str, str], _: Body) -> Body:
    """A key."""
    return session.get(parameters["name"])


@handles("cloudkms.projects.locations.keyRings.cryptoKeys.patch")
def patch_crypto_key(session: Session, parameters: Mapping[str, str], body: Body) -> Body:
    """Change a key's rotation or labels."""
    key = session.get(parameters["name"])
    key.update(body)
    return key


@handles("cloudkms.projects.locations.keyRings.cryptoKeys.cryptoKeyVersions.destroy")
def destroy_version(session: Session, parameters: Mapping[str, str], _: Body) -> Body:
    """Destroy what a key encrypts with. The key's name stays taken."""
    key = session.get(parameters["name"].split("/cryptoKeyVersions/")[0])
    key["primary"]["state"] = "DESTROY_SCHEDULED"
    version: Body = key["primary"]
    return version


# --- Artifact Registry


@handles("artifactregistry.projects.locations.repositories.create")
def create_repository(session: Session, parameters: Mapping[str, str], body: Body) -> Body:
    """Make a registry."""
    _, project, _, location = parameters["parent"].split("/")
    if location not in ZONES and location not in ("us", "europe", "asia"):
        raise invalid(f"Location {location!r} does not exist.")
    if not _REPOSITORY.match(parameters["repositoryId"]):
        raise invalid(f"Invalid repository id {parameters['repositoryId']!r}.")
    if (body.get("mode") == "REMOTE_REPOSITORY") != ("remoteRepositoryConfig" in body):
        raise invalid("remote_repository_config goes with REMOTE_REPOSITORY, and with nothing else.")
    name = f"{parameters['parent']}/repositories/{parameters['repositoryId']}"
    if body.get("kmsKeyName"):
        may_use_key(session, body["kmsKeyName"], f"service-{PROJECT_NUMBER}@gcp-sa-artifactregistry.iam.gserviceaccount.com")
    made = {
        "mode": "STANDARD_REPOSITORY",
        **body,
        "name": name,
        "createTime": session.stamp(),
        "updateTime": session.stamp(),
        "registryUri": f"{location}-docker.pkg.dev/{project}/{parameters['repositoryId']}",
    }
    if name in session.things:
        raise GoogleError(409, "the repository already exists", "alreadyExists")
    session.add(name, made)
    return {"name": f"{parameters['parent']}/operations/{session.begin('create', name, _REPOSITORY_S)}", "done": False}


@handles("artifactregistry.projects.locations.repositories.get")
def get_repository(session: Session, parameters: Mapping[str, str], _: Body) -> Body:
    """A registry."""
    return session.get(parameters["name"])


@handles("artifactregistry.projects.locations.repositories.patch")
def patch_repository(session: Session, parameters: Mapping[str, str], body: Body) -> Body:
    """Change what the mask names."""
    repository = session.get(parameters["name"])
    for key in parameters.get("updateMask", "").split(","):
        head = re.sub(r"_([a-z])", lambda found: found[1].upper(), key.split(".")[0])
        if head in body:
            repository[head] = body[head]
        else:
            repository.pop(head, None)
    return repository


@handles("artifactregistry.projects.locations.repositories.delete")
def delete_repository(session: Session, parameters: Mapping[str, str], _: Body) -> Body:
    """End a registry with its images."""
    session.get(parameters["name"])
    operation = session.begin("delete", parameters["name"], _REPOSITORY_S, then="gone")
    return {"name": f"{parameters['name'].rsplit('/repositories/', 1)[0]}/operations/{operation}", "done": False}


# --- buckets


def _bucket(name: str) -> str:
    return f"buckets/{name}"


@handles("storage.buckets.insert")
def insert_bucket(session: Session, parameters: Mapping[str, str], body: Body) -> Body:
    """Make a bucket."""
    if not _BUCKET.match(body["name"]):
        raise invalid(f"Invalid bucket name: '{body['name']}'")
    if _bucket(body["name"]) in session.things:
        raise GoogleError(409, "Your previous request to create the named bucket succeeded and you already own it.", "conflict")
    made = {
        "storageClass": "STANDARD",
        **body,
        "id": body["name"],
        "kind": "storage#bucket",
        "location": body.get("location", "US").upper(),
        "projectNumber": PROJECT_NUMBER,
        "timeCreated": session.stamp(),
        "selfLink": f"https://www.googleapis.com/storage/v1/b/{body['name']}",
        "metageneration": "1",
    }
    del parameters
    return session.add(_bucket(body["name"]), made)


@handles("storage.buckets.get")
def get_bucket(session: Session, parameters: Mapping[str, str], _: Body) -> Body:
    """A bucket."""
    if _bucket(parameters["bucket"]) not in session.things:
        raise GoogleError(404, "The specified bucket does not exist.", "notFound")
    return session.get(_bucket(parameters["bucket"]))


@handles("storage.buckets.patch")
def patch_bucket(session: Session, parameters: Mapping[str, str], body: Body) -> Body:
    """Change a bucket."""
    bucket: Body = get_bucket(session, parameters, body)
    bucket.update(body)
    return bucket


@handles("storage.buckets.delete")
def delete_bucket(session: Session, parameters: Mapping[str, str], _: Body) -> Body:
    """End an empty bucket."""
    get_bucket(session, parameters, {})
    session.things.pop(_bucket(parameters["bucket"]))
    session.state["policies"].pop(_bucket(parameters["bucket"]), None)
    return {}


@handles("storage.buckets.getIamPolicy")
def get_bucket_policy(session: Session, parameters: Mapping[str, str], _: Body) -> Body:
    """Who may read a bucket. Buckets are made by others too (an upload): one that is not known here is taken to be there."""
    return _storage_policy(policy_of(session, _bucket(parameters["bucket"])))


@handles("storage.buckets.setIamPolicy")
def set_bucket_policy(session: Session, parameters: Mapping[str, str], body: Body) -> Body:
    """Replace a bucket's policy."""
    return _storage_policy(set_policy(session, _bucket(parameters["bucket"]), body))


def _storage_policy(policy: Body) -> Body:
    return {"kind": "storage#policy", **policy}


@handles("storage.projects.serviceAccount.get")
def storage_account(session: Session, parameters: Mapping[str, str], _: Body) -> Body:
    """The account by which Cloud Storage uses keys."""
    del session, parameters
    return {"kind": "storage#serviceAccount", "email_address": f"service-{PROJECT_NUMBER}@gs-project-accounts.iam.gserviceaccount.com"}
