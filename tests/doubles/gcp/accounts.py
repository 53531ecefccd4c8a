"""Who may do what, in memory: service accounts with their key files, policies with their etags, APIs that are switched on."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any, Final

from tests.doubles.gcp import delays
from tests.doubles.gcp.session import PROJECT_NUMBER, GoogleError, Session, fingerprint, finishes, handles, invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.doubles.gcp.api import Body

_ACCOUNT: Final = re.compile(r"^[a-z](?:[-a-z0-9]{4,28}[a-z0-9])$")
_ROLE: Final = re.compile(r"^(roles/[A-Za-z0-9._]+|(projects|organizations)/[^/]+/roles/[A-Za-z0-9._]+)$")
_ROBOT: Final = re.compile(r"\.iam\.gserviceaccount\.com$")
_OWN: Final = re.compile(rf"^(service-{PROJECT_NUMBER}@|{PROJECT_NUMBER}(-compute)?@)")
"""Accounts that Google keeps for its services and that no project makes."""
_ENABLE_S: Final = delays.SERVICE_ENABLE


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


def policy_of(session: Session, name: str) -> Body:
    found: Body = session.state["policies"].setdefault(name, {"version": 1, "bindings": []})
    return {**found, "etag": _etag(found)}


def _etag(policy: Body) -> str:
    return base64.b64encode(fingerprint(policy).encode()).decode()


def set_policy(session: Session, name: str, policy: Body) -> Body:
    """Replace a policy. Who has not seen the latest one, or names who is not there, is refused."""
    now = policy_of(session, name)
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
    return policy_of(session, name)


_CONDITIONAL: Final = 3


def has_role(session: Session, name: str, role: str, member: str) -> bool:
    """Whether a policy gives a role to a member."""
    return any(role == item["role"] and member in item["members"] for item in policy_of(session, name)["bindings"])


def policies(prefix: str, key: str) -> None:
    """Register both methods of a resource's policy; ``key`` is the parameter that names the resource."""

    def get(session: Session, parameters: Mapping[str, str], _: Body) -> Body:
        session.get(parameters[key])
        return policy_of(session, parameters[key])

    def put(session: Session, parameters: Mapping[str, str], body: Body) -> Body:
        session.get(parameters[key])
        return set_policy(session, parameters[key], body["policy"])

    handles(f"{prefix}.getIamPolicy")(get)
    handles(f"{prefix}.setIamPolicy")(put)


policies("iam.projects.serviceAccounts", "resource")


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
    return policy_of(session, f"projects/{parameters['resource']}")


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


__all__: Any = ["check_member", "has_role", "identity_pool", "known_account", "policies", "policy_of", "set_policy"]
