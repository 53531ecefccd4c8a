"""IAM policies as typed statements, and the trust policies that bind a role to one service account. Pure: makes no resource.

A statement that names ``*`` where its action would take a resource can't be constructed: the rule holds by the type, and not by a review.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NO_RESOURCE: Final = frozenset(
    {
        "ecr:GetAuthorizationToken",
        "ec2:GetInstanceTypesFromInstanceRequirements",
        "ec2:GetSpotPlacementScores",
        "pricing:GetProducts",
        "sts:GetCallerIdentity",
    }
)
"""Actions that take no resource (service authorization reference of each service: an empty column "Resource types")."""
NO_RESOURCE_PREFIXES: Final = ("autoscaling:Describe", "ec2:Describe", "elasticloadbalancing:Describe")
"""Services whose Describe actions take no resource."""
_VERSION: Final = "2012-10-17"


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One statement of a policy. Raises ValueError where a resource is wider than its actions need."""

    actions: tuple[str, ...]
    """Such as ``s3:GetObject``; ``kms:ReEncrypt*`` names a family of actions, a lone ``*`` is refused."""
    resources: tuple[str, ...] = ()
    """ARNs. Empty only in a trust policy, which is about the role itself."""
    conditions: Mapping[str, Mapping[str, str | tuple[str, ...]]] = field(default_factory=dict)
    """Operator -> key -> value or values."""
    effect: Literal["Allow", "Deny"] = "Allow"
    principals: Mapping[str, tuple[str, ...]] | None = None
    """Kind (``AWS``, ``Service``, ``Federated``) -> who. Given in policies of a resource or a role's trust, never in an identity's."""
    sid: str | None = None

    def __post_init__(self) -> None:
        if not self.actions or any(action == "*" or ":" not in action for action in self.actions):
            message = f"{self.actions!r} names no actions: the statement would allow anything or nothing. Write service:Action."
            raise ValueError(message)
        if self.principals is None and not self.resources:
            message = f"{self.actions!r} names no resource: IAM would refuse the policy. Name ARNs."
            raise ValueError(message)
        if self.effect == "Deny" or "*" not in self.resources:
            return
        wide = [action for action in self.actions if not self._takes_no_resource(action)]
        if wide:
            message = f"{', '.join(wide)} take a resource, and * is every one of the account. Name ARNs."
            raise ValueError(message)

    def _takes_no_resource(self, action: str) -> bool:
        """Whether ``*`` is the only resource there is. In a key's own policy it means that key."""
        of_the_key = self.principals is not None and action.startswith("kms:")
        return of_the_key or action in NO_RESOURCE or action.startswith(NO_RESOURCE_PREFIXES)

    def render(self) -> dict[str, Any]:
        """Give the statement as JSON policies have it; one value stands alone, several in a list."""
        statement: dict[str, Any] = {"Effect": self.effect, "Action": _one_or_many(self.actions)}
        if self.sid is not None:
            statement["Sid"] = self.sid
        if self.resources:
            statement["Resource"] = _one_or_many(self.resources)
        if self.principals is not None:
            statement["Principal"] = {kind: _one_or_many(who) for kind, who in self.principals.items()}
        if self.conditions:
            statement["Condition"] = {
                operator: {key: value if isinstance(value, str) else _one_or_many(value) for key, value in keys.items()}
                for operator, keys in self.conditions.items()
            }
        return statement


def document(statements: Iterable[Statement]) -> str:
    """Render a policy document. Keys are sorted, so that equal policies are equal texts."""
    return json.dumps({"Version": _VERSION, "Statement": [statement.render() for statement in statements]}, sort_keys=True)


def service_trust(service: str) -> str:
    """Trust policy of a role that an AWS service such as ``ec2.amazonaws.com`` takes."""
    return document([Statement(actions=("sts:AssumeRole",), principals={"Service": (service,)})])


def pod_identity_trust() -> str:
    """Trust policy of a role that EKS Pod Identity hands to pods; which ones, its association says."""
    return document([Statement(actions=("sts:AssumeRole", "sts:TagSession"), principals={"Service": ("pods.eks.amazonaws.com",)})])


def service_account_trust(*, oidc_arn: str, issuer: str, namespace: str, service_account: str) -> str:
    """Trust policy of a role that one Kubernetes service account takes (IRSA).

    Both conditions are needed: without ``sub`` any pod of the cluster could take the role, without ``aud`` tokens made for others would do.

    Args:
        oidc_arn: ARN of the cluster's OIDC provider.
        issuer: The cluster's issuer without ``https://``.
        namespace: Namespace of the service account; no pattern.
        service_account: Its name; no pattern.

    Raises:
        ValueError: When a name is a pattern or empty, or when the issuer has a scheme, with which the condition would never match.
    """
    if any(not part or "*" in part or "?" in part for part in (namespace, service_account)):
        message = f"{namespace}/{service_account} is no one service account: others could take the role. Name one."
        raise ValueError(message)
    if "://" in issuer:
        message = f"{issuer} has a scheme: the condition would never match. Take it off."
        raise ValueError(message)
    return document(
        [
            Statement(
                actions=("sts:AssumeRoleWithWebIdentity",),
                principals={"Federated": (oidc_arn,)},
                conditions={
                    "StringEquals": {
                        f"{issuer}:sub": f"system:serviceaccount:{namespace}:{service_account}",
                        f"{issuer}:aud": "sts.amazonaws.com",
                    }
                },
            )
        ]
    )


def partition(region: str) -> str:
    """AWS partition of a region: the second part of every ARN in it."""
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"


def _one_or_many(values: tuple[str, ...]) -> str | list[str]:
    return values[0] if len(values) == 1 else list(values)
