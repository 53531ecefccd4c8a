"""IAM policies as typed statements, and the trust policies of roles. Pure: creates no resource.

`Statement` refuses ``*`` for an action that takes a resource, so no policy can be wider than its actions need.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from components.base.aws import domain, principal_domain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pulumi

    Conditions = Mapping[str, Mapping[str, str | tuple[str, ...]]]

ROLE_ANNOTATION: Final = "eks.amazonaws.com/role-arn"
"""Annotation of a Kubernetes service account with the ARN of its role (IRSA)."""


def actions(names: str) -> tuple[str, ...]:
    """Split ``ec2:DescribeVpcs DescribeTags`` into ``ec2:DescribeVpcs``, ``ec2:DescribeTags``: a service applies to the names after it."""
    service, found = "", []
    for name in names.split():
        prefix, _, action = name.rpartition(":")
        service = prefix or service
        found.append(f"{service}:{action}")
    return tuple(found)


NO_RESOURCE: Final = frozenset(
    actions(
        "ecr:GetAuthorizationToken ec2:GetInstanceTypesFromInstanceRequirements GetSpotPlacementScores pricing:GetProducts "
        "sts:GetCallerIdentity"
    )
)
"""Actions that take no resource (service authorization reference of each service: an empty column "Resource types")."""
NO_RESOURCE_PREFIXES: Final = ("autoscaling:Describe", "ec2:Describe", "elasticloadbalancing:Describe")
"""Services whose Describe actions take no resource."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """The account and region that ARNs are in."""

    partition: str
    region: str
    id: str

    def arn(self, service: str, resource: str) -> str:
        """Return the ARN of a resource of this account, in its region where the service has regions."""
        return f"arn:{self.partition}:{service}:{'' if service == 'iam' else self.region}:{self.id}:{resource}"

    def managed_policy(self, name: str) -> str:
        """Return the ARN of a policy that AWS manages."""
        return f"arn:{self.partition}:iam::aws:policy/{name}"

    def service(self, name: str, region: str | None = None) -> str:
        """Return a service's regional endpoint, as ``kms:ViaService`` names it; by default in the account's region."""
        return f"{name}.{region or self.region}.{domain(self.region)}"

    @property
    def logs(self) -> str:
        """Service principal of CloudWatch Logs in the region."""
        return f"logs.{self.region}.{principal_domain(self.region, 'logs')}"

    @property
    def ec2(self) -> str:
        """Service principal that assumes the role of a node."""
        return f"ec2.{principal_domain(self.region, 'ec2')}"


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One statement of a policy. Raises ValueError where a resource is wider than its actions need."""

    actions: tuple[str, ...]
    """Such as ``s3:GetObject``. ``kms:ReEncrypt*`` names a family of actions; a lone ``*`` is refused."""
    resources: tuple[str, ...] = ()
    """ARNs. Empty only in a trust policy, which is about the role itself."""
    conditions: Conditions = field(default_factory=dict)
    """Operator -> key -> value or values."""
    effect: Literal["Allow", "Deny"] = "Allow"
    principals: Mapping[str, tuple[str, ...]] | None = None
    """Kind (``AWS``, ``Service``, ``Federated``) -> principals. Given in resource policies and trust policies only."""
    sid: str | None = None

    def __post_init__(self) -> None:
        if not self.actions or any(action == "*" or ":" not in action for action in self.actions):
            message = f"{self.actions!r} names no actions: the statement would allow anything or nothing. Write service:Action."
            raise ValueError(message)
        if self.principals is None and not self.resources:
            message = f"{self.actions!r} names no resource: IAM would refuse the policy. Name ARNs."
            raise ValueError(message)
        wide = [action for action in self.actions if not self._takes_no_resource(action)]
        if self.effect == "Allow" and "*" in self.resources and wide:
            message = f"{', '.join(wide)} support resource-level permissions, and * allows every resource in the account. Use ARNs."
            raise ValueError(message)

    def _takes_no_resource(self, action: str) -> bool:
        """Return whether ``*`` is the only possible resource. In a key's own policy it means that key."""
        of_the_key = self.principals is not None and action.startswith("kms:")
        return of_the_key or action in NO_RESOURCE or action.startswith(NO_RESOURCE_PREFIXES)

    def render(self) -> dict[str, Any]:
        """Return the statement in policy JSON: a single value as a string, several as a list."""
        conditions = {operator: {key: _render(value) for key, value in keys.items()} for operator, keys in self.conditions.items()}
        statement = {
            "Sid": self.sid,
            "Effect": self.effect,
            "Action": _render(self.actions),
            "Resource": _render(self.resources),
            "Principal": {kind: _render(names) for kind, names in (self.principals or {}).items()},
            "Condition": conditions,
        }
        return {key: value for key, value in statement.items() if value}


def allow(
    sid: str,
    names: str,
    *resources: str,
    conditions: Conditions | None = None,
    principals: Mapping[str, tuple[str, ...]] | None = None,
) -> Statement:
    """Return a statement that allows the actions ``names``, in the form of `actions`, on ``resources``."""
    return Statement(sid=sid, actions=actions(names), resources=resources, conditions=conditions or {}, principals=principals)


def _render(values: str | tuple[str, ...]) -> str | list[str]:
    if isinstance(values, str):
        return values
    return values[0] if len(values) == 1 else list(values)


def document(statements: Iterable[Statement]) -> str:
    """Render a policy document. Keys are sorted, so that equal policies are equal strings."""
    return json.dumps({"Version": "2012-10-17", "Statement": [statement.render() for statement in statements]}, sort_keys=True)


def service_trust(service: str) -> str:
    """Return the trust policy of a role that an AWS service such as ``ec2.amazonaws.com`` assumes."""
    return document([Statement(actions=("sts:AssumeRole",), principals={"Service": (service,)})])


def pod_identity_trust() -> str:
    """Return the trust policy of a role that EKS Pod Identity gives to the pods that its association names."""
    return document([Statement(actions=("sts:AssumeRole", "sts:TagSession"), principals={"Service": ("pods.eks.amazonaws.com",)})])


def service_account_trust(*, oidc_arn: str, issuer: str, namespace: str, service_account: str) -> str:
    """Return the trust policy of a role that one Kubernetes service account assumes (IRSA).

    Both conditions are needed: without ``sub`` every pod of the cluster could assume the role, without ``aud`` a token for another
    audience would do. ``issuer`` is the cluster's, without ``https://``.

    Raises:
        ValueError: If a name is empty or a pattern, or if the issuer has a scheme, with which the condition would never match.
    """
    if any(not part or "*" in part or "?" in part for part in (namespace, service_account)):
        message = f"{namespace}/{service_account} does not name one service account: others could assume the role. Name one."
        raise ValueError(message)
    if "://" in issuer:
        message = f"{issuer} has a scheme: the condition would never match. Remove it."
        raise ValueError(message)
    subject = {f"{issuer}:sub": f"system:serviceaccount:{namespace}:{service_account}", f"{issuer}:aud": "sts.amazonaws.com"}
    return document(
        [Statement(actions=("sts:AssumeRoleWithWebIdentity",), principals={"Federated": (oidc_arn,)}, conditions={"StringEquals": subject})]
    )


def service_account(name: str, role_arn: pulumi.Input[str] | None) -> dict[str, Any]:
    """Return a service account as charts take it, with the annotation for its role; without ``role_arn`` (Pod Identity), with none.

    The name is fixed, because the role's trust policy names it.
    """
    return {"name": name, **({} if role_arn is None else {"annotations": {ROLE_ANNOTATION: role_arn}})}
