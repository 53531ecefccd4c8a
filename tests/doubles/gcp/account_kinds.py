"""Types of who may do what: bindings, service accounts and their key files, APIs that are switched on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.doubles.gcp.expand import NEVER
from tests.doubles.gcp.kinds import Context, Kind, saying, saying_but_gone
from tests.doubles.gcp.session import GoogleError
from tests.doubles.provider import DoubleError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.doubles.gcp.api import Body
    from tests.doubles.provider import Props

_SNAKE: Final = re.compile(r"(?<=[a-z0-9])([A-Z])")
_ATTEMPTS: Final = 30


def snake(name: str) -> str:
    """A field as Google's masks have it."""
    return _SNAKE.sub(lambda found: f"_{found[1].lower()}", name)


# --- bindings


@dataclass(frozen=True, kw_only=True)
class MemberKind(Kind):
    """One member of one role in a policy, which is read, changed and written back; who comes in between makes it begin again."""

    api: str = ""
    schema: str = ""
    name: str = ""
    name_property: str | None = None
    target: str = ""
    """The input that names what the policy is of."""
    prefix: str = ""
    """What the id begins with."""
    get_method: str = "getIamPolicy"
    resource_parameter: str = "resource"
    plain_policy: bool = False
    """Cloud Storage takes the policy itself where others take a request with it."""

    def policy_of(self, context: Context, inputs: Props) -> str:
        """The parameter that names what the policy is of."""
        del context
        return str(inputs[self.target])

    def identity(self, context: Context, inputs: Props) -> str:
        condition = (inputs.get("condition") or {}).get("title")
        parts = [f"{self.prefix}{self.policy_of(context, inputs)}", str(inputs["role"]), str(inputs["member"]), condition]
        return "/".join(part for part in parts if part)

    def problems(self, inputs: Props) -> Iterator[tuple[str, str]]:
        member = inputs.get("member")
        if isinstance(member, str) and ":" not in member and member not in ("allUsers", "allAuthenticatedUsers"):
            yield "member", f"invalid value for member ({member}): must be of a form like user:NAME or serviceAccount:NAME"
        if isinstance(member, str) and member.startswith("deleted:"):
            yield "member", "invalid value for member (deleted:…)"

    def _read(self, context: Context, resource: str) -> Body:
        body: Body | None = {} if self.get_method == "getIamPolicy" and self.methods.startswith("cloudresourcemanager") else None
        return context.ask(f"{self.methods}.getIamPolicy", {self.resource_parameter: resource}, body)

    def _matches(self, binding: Body, inputs: Props) -> bool:
        condition = inputs.get("condition") or None
        return binding.get("role") == inputs["role"] and (binding.get("condition") or None) == condition

    def _change(self, context: Context, inputs: Props, *, add: bool) -> None:
        resource = self.policy_of(context, inputs)
        for attempt in range(_ATTEMPTS):
            policy = self._read(context, resource)
            bindings: list[Body] = policy.get("bindings", [])
            found = next((item for item in bindings if self._matches(item, inputs)), None)
            if found is None and add:
                found = {"role": inputs["role"], "members": []}
                if inputs.get("condition"):
                    found["condition"] = dict(inputs["condition"])
                bindings.append(found)
            if found is not None:
                members = set(found["members"])
                found["members"] = sorted(members | {inputs["member"]} if add else members - {inputs["member"]})
            conditional = any(item.get("condition") for item in bindings)
            new = {"bindings": [item for item in bindings if item["members"]], "etag": policy["etag"], "version": 3 if conditional else 1}
            try:
                context.ask(
                    f"{self.methods}.setIamPolicy", {self.resource_parameter: resource}, new if self.plain_policy else {"policy": new}
                )
            except GoogleError as error:
                if error.reason != "aborted":
                    raise
                context.call.note(f"policy of {resource} changed meanwhile (attempt {attempt + 1})")
                continue
            return
        raise DoubleError(f"policy of {resource} was changed by others again and again")

    def create(self, context: Context, inputs: Props) -> tuple[str, Body]:
        with saying(f"Error applying IAM policy for {self.policy_of(context, inputs)!r}"):
            self._change(context, inputs, add=True)
            return self.identity(context, inputs), self.get(context, "", inputs)

    def get(self, context: Context, identity: str, inputs: Props) -> Body:
        policy = self._read(context, self.policy_of(context, inputs))
        if not any(self._matches(item, inputs) and inputs["member"] in item["members"] for item in policy.get("bindings", [])):
            raise GoogleError(404, f"no binding of {inputs['role']} to {inputs['member']}", "notFound")
        return {"etag": policy["etag"]}

    def delete(self, context: Context, identity: str, state: Props) -> None:
        with saying_but_gone(f"Error applying IAM policy for {self.policy_of(context, state)!r}"):
            self._change(context, state, add=False)


@dataclass(frozen=True, kw_only=True)
class RepositoryMemberKind(MemberKind):
    """A member in a registry's policy: the registry is named by its id or by its whole name."""

    def policy_of(self, context: Context, inputs: Props) -> str:
        repository = str(inputs["repository"])
        place = context.place({**context.config, **inputs})
        return (
            repository
            if repository.startswith("projects/")
            else f"projects/{place['project']}/locations/{place['location']}/repositories/{repository}"
        )


_MEMBER_REPLACES: Final = ("condition", "member", "role")
PROJECT_MEMBER: Final = MemberKind(
    token="gcp:projects/iAMMember:IAMMember",
    methods="cloudresourcemanager.projects",
    target="project",
    replaces=(*_MEMBER_REPLACES, "project"),
)
ACCOUNT_MEMBER: Final = MemberKind(
    token="gcp:serviceaccount/iAMMember:IAMMember",
    methods="iam.projects.serviceAccounts",
    target="serviceAccountId",
    replaces=(*_MEMBER_REPLACES, "serviceAccountId"),
)
KEY_MEMBER: Final = MemberKind(
    token="gcp:kms/cryptoKeyIAMMember:CryptoKeyIAMMember",
    methods="cloudkms.projects.locations.keyRings.cryptoKeys",
    target="cryptoKeyId",
    replaces=(*_MEMBER_REPLACES, "cryptoKeyId"),
)
BUCKET_MEMBER: Final = MemberKind(
    token="gcp:storage/bucketIAMMember:BucketIAMMember",
    methods="storage.buckets",
    target="bucket",
    prefix="b/",
    resource_parameter="bucket",
    plain_policy=True,
    replaces=(*_MEMBER_REPLACES, "bucket"),
)
REPOSITORY_MEMBER: Final = RepositoryMemberKind(
    token="gcp:artifactregistry/repositoryIamMember:RepositoryIamMember",
    methods="artifactregistry.projects.locations.repositories",
    target="repository",
    replaces=(*_MEMBER_REPLACES, "location", "project", "repository"),
    computed=("project", "location"),
)


# --- service accounts


@dataclass(frozen=True, kw_only=True)
class AccountKind(Kind):
    """A service account."""

    def identity(self, context: Context, inputs: Props) -> str:
        project = context.place(inputs)["project"]
        return f"projects/{project}/serviceAccounts/{inputs['accountId']}@{project}.iam.gserviceaccount.com"

    def problems(self, inputs: Props) -> Iterator[tuple[str, str]]:
        account = inputs.get("accountId")
        if isinstance(account, str) and not re.fullmatch(r"[a-z]([-a-z0-9]{4,28}[a-z0-9])", account):
            yield "accountId", f'"account_id" ("{account}") doesn\'t match regexp "^[a-z](?:[-a-z0-9]{{4,28}}[a-z0-9])$"'

    def create(self, context: Context, inputs: Props) -> tuple[str, Body]:
        identity = self.identity(context, inputs)
        body = {"accountId": inputs["accountId"], "serviceAccount": self.body(inputs)}
        with saying("Error creating service account"):
            made = context.ask("iam.projects.serviceAccounts.create", {"name": "/".join(identity.split("/")[:2])}, body)
        return identity, made

    def get(self, context: Context, identity: str, inputs: Props) -> Body:
        return context.ask("iam.projects.serviceAccounts.get", {"name": identity})

    def update(self, context: Context, identity: str, inputs: Props, changed: set[str]) -> None:
        mask = ",".join(sorted(snake(key) for key in changed))
        with saying("Error updating service account"):
            context.ask("iam.projects.serviceAccounts.patch", {"name": identity}, {"updateMask": mask, "serviceAccount": self.body(inputs)})

    def delete(self, context: Context, identity: str, state: Props) -> None:
        with saying_but_gone("Error deleting service account"):
            context.ask("iam.projects.serviceAccounts.delete", {"name": identity})


@dataclass(frozen=True, kw_only=True)
class AccountKeyKind(Kind):
    """A key file of a service account."""

    def create(self, context: Context, inputs: Props) -> tuple[str, Body]:
        body = {key: self.filled(inputs)[key] for key in ("keyAlgorithm", "privateKeyType")}
        account = str(inputs["serviceAccountId"])
        name = account if account.startswith("projects/") else f"projects/-/serviceAccounts/{account}"
        if name.startswith("projects/-/"):
            name = f"projects/{account.partition('@')[2].partition('.')[0]}/serviceAccounts/{account}"
        with saying("Error creating service account key"):
            made = context.ask("iam.projects.serviceAccounts.keys.create", {"name": name}, body)
        return made["name"], made

    def get(self, context: Context, identity: str, inputs: Props) -> Body:
        return context.ask("iam.projects.serviceAccounts.keys.get", {"name": identity})

    def delete(self, context: Context, identity: str, state: Props) -> None:
        with saying_but_gone("Error deleting service account key"):
            context.ask("iam.projects.serviceAccounts.keys.delete", {"name": identity})


ACCOUNT: Final = AccountKind(
    token="gcp:serviceaccount/account:Account",
    api="iam",
    schema="ServiceAccount",
    methods="iam.projects.serviceAccounts",
    name="",
    names={"project": NEVER, "accountId": NEVER, "deletionPolicy": NEVER, "createIgnoreAlreadyExists": NEVER, "disabled": NEVER},
    replaces=("accountId", "project"),
    name_property="accountId",
    name_length=30,
    computed=("project",),
    outputs={"member": lambda body, _: f"serviceAccount:{body['email']}"},
)
ACCOUNT_KEY: Final = AccountKeyKind(
    token="gcp:serviceaccount/key:Key",
    api="iam",
    schema="CreateServiceAccountKeyRequest",
    methods="iam.projects.serviceAccounts.keys",
    name="",
    names=dict.fromkeys(("serviceAccountId", "deletionPolicy", "keepers", "publicKeyType"), NEVER),
    name_property=None,
    replaces=("serviceAccountId", "keyAlgorithm", "privateKeyType", "publicKeyType", "publicKeyData", "keepers"),
    defaults={"keyAlgorithm": "KEY_ALG_RSA_2048", "privateKeyType": "TYPE_GOOGLE_CREDENTIALS_FILE", "publicKeyType": "TYPE_X509_PEM_FILE"},
    outputs={
        "privateKey": "privateKeyData",
        "publicKey": lambda _, __: "",
        "validAfter": "validAfterTime",
        "validBefore": "validBeforeTime",
    },
)


# --- APIs of a project


@dataclass(frozen=True, kw_only=True)
class ServiceKind(Kind):
    """An API that is switched on. It stays on when the resource goes, but where `disableOnDestroy` is true."""

    def identity(self, context: Context, inputs: Props) -> str:
        return f"{context.place(inputs)['project']}/{inputs['service']}"

    def _name(self, identity: str) -> dict[str, str]:
        project, service = identity.split("/")
        return {"name": f"projects/{project}/services/{service}"}

    def create(self, context: Context, inputs: Props) -> tuple[str, Body]:
        identity = self.identity(context, inputs)
        with saying("Error enabling service"):
            operation = context.ask("serviceusage.services.enable", self._name(identity), {})
            context.finish(operation["name"])
            return identity, self.get(context, identity, inputs)

    def get(self, context: Context, identity: str, inputs: Props) -> Body:
        body = context.ask("serviceusage.services.get", self._name(identity))
        if body["state"] != "ENABLED":
            raise GoogleError(404, f"service {identity} is not enabled", "notFound")
        return body

    def update(self, context: Context, identity: str, inputs: Props, changed: set[str]) -> None:
        """Nothing at Google: what can change says what a destroy does."""

    def delete(self, context: Context, identity: str, state: Props) -> None:
        if state.get("disableOnDestroy"):
            with saying_but_gone("Error disabling service"):
                body = {"disableDependentServices": bool(state.get("disableDependentServices"))}
                context.finish(context.ask("serviceusage.services.disable", self._name(identity), body)["name"])


SERVICE: Final = ServiceKind(
    token="gcp:projects/service:Service",
    api="serviceusage",
    schema="EnableServiceRequest",
    methods="serviceusage.services",
    name="",
    names=dict.fromkeys(
        ("project", "service", "deletionPolicy", "disableOnDestroy", "disableDependentServices", "checkIfServiceHasUsageOnDestroy"), NEVER
    ),
    name_property="service",
    replaces=("project", "service"),
    computed=("project",),
)

KINDS: Final[tuple[Kind, ...]] = (
    PROJECT_MEMBER,
    ACCOUNT_MEMBER,
    KEY_MEMBER,
    BUCKET_MEMBER,
    REPOSITORY_MEMBER,
    ACCOUNT,
    ACCOUNT_KEY,
    SERVICE,
)
