"""Who may do what, in memory: service accounts, policies with their etags, keys of KMS, switched-on APIs; and the registries and
buckets that are little more than a name and a policy.
"""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any, Final

from tests.doubles.gcp.compute import ZONES
from tests.doubles.gcp.memory import PROJECT_NUMBER, GoogleError, Session, fingerprint, finishes, handles, invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.doubles.gcp.api import Body

_ACCOUNT: Final = re.compile(r"^[a-z](?:[-a-z0-9]{4,28}[a-z0-9])$")
_BUCKET: Final = re.compile(r"^[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]$")
_REPOSITORY: Final = re.compile(r"^[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?$")
_ROLE: Final = re.compile(r"^(roles/[A-Za-z0-9._]+|(projects|organizations)/[^/]+/roles/[A-Za-z0-9._]+)$")
_ROBOT: Final = re.compile(r"\.iam\.gserviceaccount\.com$")
_OWN: Final = re.compile(rf"^(service-{PROJECT_NUMBER}@|{PROJECT_NUMBER}(-compute)?@)")
"""Accounts that Google keeps for its services and that no project makes."""
_REPOSITORY_S: Final = 5.0
_ENABLE_S: Final = 20.0


def identity_pool(project: str) -> str:
    """Name of a project's pool of Kubernetes identities."""
    return f"{project}.svc.id.goog"


def account_name(project: str, email: str) -> str:
    """A service account's name."""
    return f"projects/{project}/serviceAccounts/{email}"


def known_account(session: Session, email: str) -> None:
    """Refuse a service account that nobody made. Raises GoogleError."""
    if _OWN.match(email):
        return
    project = email.partition("@")[2].partition(".")[0]
    if account_name(project, email) not in session.things:
        raise invalid(f"Service account {email} does not exist.")


def check_member(session: Session, member: str) -> None:
    """Refuse a member of a policy that is not there, as Google does when a policy is set. Raises GoogleError."""
    kind, _, rest = member.partition(":")
    if member in ("allUsers", "allAuthenticatedUsers"):
        return
    if kind not in ("user", "group", "domain", "serviceAccount", "principal", "principalSet") or not rest:
        raise invalid(f"Invalid member {member!r}: it must be of a form like serviceAccount:NAME@PROJECT.iam.gserviceaccount.com.")
    if kind == "serviceAccount":
        found = re.match(r"^([^[]+\.svc\.id\.goog)\[([^/]+)/([^]]+)\]$", rest)
        if found:
            _check_pool(session, found[1])
        elif _ROBOT.search(rest):
            known_account(session, rest)
        elif not _OWN.match(rest):
            raise invalid(f"Service account {rest} does not exist.")
    if kind in ("principal", "principalSet"):
        pool = re.search(r"/workloadIdentityPools/([^/]+)/", rest)
        if pool and pool[1].endswith(".svc.id.goog"):
            _check_pool(session, pool[1])


def _check_pool(session: Session, pool: str) -> None:
    if pool not in session.state.get("pools", []):
        raise invalid(
            f"Identity Pool does not exist ({pool}). Please check that you specified a valid resource name as returned in the `name` "
            "attribute in the configuration API."
        )


# --- policies


def _policy(session: Session, name: str) -> Body:
    found: Body = session.state["policies"].setdefault(name, {"version": 1, "bindings": []})
    return {**found, "etag": _etag(found)}


def _etag(policy: Body) -> str:
    return base64.b64encode(fingerprint(policy).encode()).decode()


def set_policy(session: Session, name: str, policy: Body) -> Body:
    """Replace a policy. Who has not seen the latest one, or names who is not there, is refused."""
    now = _policy(session, name)
    if policy.get("etag") and policy["etag"] != now["etag"]:
        raise GoogleError(
            409, "There were concurrent policy changes. Please retry the whole read-modify-write with exponential backoff.", "aborted"
        )
    seen: set[str] = set()
    for binding in policy.get("bindings", []):
        role, condition = binding.get("role", ""), binding.get("condition")
        if not _ROLE.match(role):
            raise invalid(f"Role {role!r} is not supported for this resource.")
        if condition and policy.get("version") != _CONDITIONAL:
            raise invalid("Policy with conditions must be of version 3.")
        mark = json.dumps([role, condition])
        if mark in seen:
            raise invalid(f"Policy has two bindings of {role} with the same condition.")
        seen.add(mark)
        for member in binding.get("members", []):
            check_member(session, member)
    bindings = [binding for binding in policy.get("bindings", []) if binding.get("members")]
    session.state["policies"][name] = {"version": policy.get("version", 1), "bindings": bindings}
    return _policy(session, name)


_CONDITIONAL: Final = 3


def has_role(session: Session, name: str, role: str, member: str) -> bool:
    """Whether a policy gives a role to a member."""
    return any(role == item["role"] and member in item["members"] for item in _policy(session, name)["bindings"])


def may_use_key(session: Session, key: str, account: str) -> None:
    """Refuse a key that is not there or that Google's own account may not use. Raises GoogleError."""
    if key not in session.things:
        raise invalid(f"Cloud KMS key {key!r} does not exist.")
    if not has_role(session, key, "roles/cloudkms.cryptoKeyEncrypterDecrypter", f"serviceAccount:{account}"):
        raise invalid(f"Cloud KMS Key {key} is not usable by {account}: grant it roles/cloudkms.cryptoKeyEncrypterDecrypter on the key.")


def _policies(prefix: str, key: str) -> None:
    """Register both methods of a resource's policy; ``key`` is the parameter that names the resource."""

    def get(session: Session, parameters: Mapping[str, str], _: Body) -> Body:
        session.get(parameters[key])
        return _policy(session, parameters[key])

    def put(session: Session, parameters: Mapping[str, str], body: Body) -> Body:
        session.get(parameters[key])
        return set_policy(session, parameters[key], body["policy"])

    handles(f"{prefix}.getIamPolicy")(get)
    handles(f"{prefix}.setIamPolicy")(put)


_policies("artifactregistry.projects.locations.repositories", "resource")
_policies("cloudkms.projects.locations.keyRings.cryptoKeys", "resource")
_policies("cloudkms.projects.locations.keyRings", "resource")
_policies("iam.projects.serviceAccounts", "resource")


# --- projects and their APIs


@handles("cloudresourcemanager.projects.get")
def get_project(session: Session, parameters: Mapping[str, str], _: Body) -> Body:
    """A project; each one is there."""
    del session
    project = parameters["projectId"]
    return {"projectId": project, "projectNumber": PROJECT_NUMBER, "name": project, "lifecycleState": "ACTIVE"}


@handles("cloudresourcemanager.projects.getIamPolicy")
def get_project_policy(session: Session, parameters: Mapping[str, str], _: Body) -> Body:
    """Who may do what in a project."""
    return _policy(session, f"projects/{parameters['resource']}")


@handles("cloudresourcemanager.projects.setIamPolicy")
def set_project_policy(session: Session, parameters: Mapping[str, str], body: Body) -> Body:
    """Replace a project's policy."""
    return set_policy(session, f"projects/{parameters['resource']}", body["policy"])


def _service(session: Session, name: str) -> Body:
    project, service = name.split("/")[1], name.rsplit("/", 1)[-1]
    on = session.enabled(project, service.removesuffix(".googleapis.com"))
    return {"name": name, "parent": f"projects/{PROJECT_NUMBER}", "state": "ENABLED" if on else "DISABLED", "config": {"name": service}}


@handles("serviceusage.services.get")
def get_service(session: Session, parameters: Mapping[str, str], _: Body) -> Body:
    """Whether an API is switched on."""
    return _service(session, parameters["name"])


@handles("serviceusage.services.enable")
def enable_service(session: Session, parameters: Mapping[str, str], _: Body) -> Body:
    """Switch an API on."""
    name = session.begin("enable", parameters["name"], _ENABLE_S, then="service_is_on")
    return {"name": f"operations/{name}", "done": False}


@finishes
def service_is_on(session: Session, operation: Body) -> None:
    """An API that was being switched on."""
    project, service = operation["target"].split("/")[1], operation["target"].rsplit("/", 1)[-1]
    services = session.state["services"].get(project)
    if services is not None and service not in services:
        services.append(service)


@handles("serviceusage.services.disable")
def disable_service(session: Session, parameters: Mapping[str, str], _: Body) -> Body:
    """Switch an API off."""
    project, service = parameters["name"].split("/")[1], parameters["name"].rsplit("/", 1)[-1]
    if service in (session.state["services"].get(project) or []):
        session.state["services"][project].remove(service)
    return {"name": f"operations/{session.begin('disable', parameters['name'], _ENABLE_S)}", "done": False}


# --- service accounts


@handles("iam.projects.serviceAccounts.create")
def create_account(session: Session, parameters: Mapping[str, str], body: Body) -> Body:
    """Make a service account."""
    project = parameters["name"].split("/")[1]
    if not _ACCOUNT.match(body["accountId"]):
        raise invalid(f"Invalid accountId {body['accountId']!r}: 6 to 30 lower-case letters, digits and dashes, the first one a letter.")
    email = f"{body['accountId']}@{project}.iam.gserviceaccount.com"
    name = account_name(project, email)
    if name in session.things:
        raise GoogleError(409, f"Service account {body['accountId']} already exists within project {parameters['name']}.", "alreadyExists")
    made = {"email": email, "projectId": project, "uniqueId": f"1{session.number():020d}", "name": name, **body.get("serviceAccount", {})}
    return session.add(name, made)


def _account(session: Session, name: str) -> Body:
    if name not in session.things:
        raise GoogleError(404, f"Unknown service account: {name.rsplit('/', 1)[-1]}.", "notFound")
    return session.things[name]


@handles("iam.projects.serviceAccounts.get")
def get_account(session: Session, parameters: Mapping[str, str], _: Body) -> Body:
    """A service account."""
    return _account(session, parameters["name"])


@handles("iam.projects.serviceAccounts.patch")
def patch_account(session: Session, parameters: Mapping[str, str], body: Body) -> Body:
    """Change its display name or description."""
    account = _account(session, parameters["name"])
    for key in body.get("updateMask", "").split(","):
        account[{"display_name": "displayName"}.get(key, key)] = body["serviceAccount"].get(
            {"display_name": "displayName"}.get(key, key), ""
        )
    return account


@handles("iam.projects.serviceAccounts.delete")
def delete_account(session: Session, parameters: Mapping[str, str], _: Body) -> Body:
    """End a service account and its keys. Policies go on naming it, as one that was deleted."""
    _account(session, parameters["name"])
    for name in [parameters["name"], *session.below(parameters["name"])]:
        session.things.pop(name)
    session.state["policies"].pop(parameters["name"], None)
    return {}


@handles("iam.projects.serviceAccounts.keys.create")
def create_key(session: Session, parameters: Mapping[str, str], body: Body) -> Body:
    """Make a key file. Its content is of no use anywhere."""
    account = _account(session, parameters["name"])
    number = f"{session.number():040x}"
    content = {
        "type": "service_account",
        "project_id": account["projectId"],
        "private_key_id": number,
        "private_key": "-----BEGIN PRIVATE KEY-----\nnone\n-----END PRIVATE KEY-----\n",
        "client_email": account["email"],
        "client_id": account["uniqueId"],
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    name = f"{parameters['name']}/keys/{number}"
    made = {
        "name": name,
        "keyAlgorithm": body.get("keyAlgorithm", "KEY_ALG_RSA_2048"),
        "keyType": "USER_MANAGED",
        "keyOrigin": "GOOGLE_PROVIDED",
        "privateKeyType": body.get("privateKeyType", "TYPE_GOOGLE_CREDENTIALS_FILE"),
        "validAfterTime": session.stamp(),
        "validBeforeTime": "9999-12-31T23:59:59Z",
    }
    session.add(name, made)
    return {**made, "privateKeyData": base64.b64encode(json.dumps(content).encode()).decode()}


@handles("iam.projects.serviceAccounts.keys.get")
def get_key(session: Session, parameters: Mapping[str, str], _: Body) -> Body:
    """A key, without what is secret of it."""
    return session.get(parameters["name"])


@handles("iam.projects.serviceAccounts.keys.delete")
def delete_key(session: Session, parameters: Mapping[str, str], _: Body) -> Body:
    """End a key."""
    session.get(parameters["name"])
    session.things.pop(parameters["name"])
    return {}


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
    return _storage_policy(_policy(session, _bucket(parameters["bucket"])))


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


__all__: Any = ["check_member", "has_role", "identity_pool", "known_account", "may_use_key", "set_policy"]
