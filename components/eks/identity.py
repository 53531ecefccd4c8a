"""IAM roles: those of Kubernetes service accounts, and those of nodes. `policies.py` says what they may do.

A role's ARN resolves once its policies are attached, so that nothing runs with half of its rights.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pulumi
import pulumi_aws as aws

from components.base.naming import shortened, type_token
from components.base.outputs import after
from components.eks.iam import document, service_account_trust, service_trust

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from components.eks.iam import Account, Statement

_LONGEST_ROLE: Final = 64
"""IAM's limit, which Pulumi's own names may not exceed with their suffix of 8 characters."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What the roles of a cluster's service accounts are built from."""

    account: Account
    oidc_arn: pulumi.Output[str]
    issuer: pulumi.Output[str]
    """The cluster's issuer, without scheme."""
    provider: aws.Provider


@dataclass(frozen=True, kw_only=True)
class ServiceAccountRoleArgs:
    """Arguments of `ServiceAccountRole`."""

    identity: Identity
    namespace: str
    service_account: str
    statements: Sequence[Statement] | pulumi.Output[Sequence[Statement]]
    """An output where they name an ARN that is known only after its resource is created."""
    tags: Mapping[str, str]
    more: Mapping[str, Sequence[Statement]] = field(default_factory=dict)
    """Further policies, by the suffix of their names: a policy holds at most 6144 characters."""


class ServiceAccountRole(pulumi.ComponentResource):
    """A role that one Kubernetes service account assumes (IRSA).

    Not Pod Identity: Triton's AWS SDK (aws-sdk-cpp 1.11.60) is older than the first release that supports it (1.11.263).
    """

    arn: pulumi.Output[str]
    """Resolves once all policies are attached."""

    def __init__(self, name: str, args: ServiceAccountRoleArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(type_token("cluster", "ServiceAccountRole"), name, None, opts)
        child = pulumi.ResourceOptions(parent=self, provider=args.identity.provider)
        trust = pulumi.Output.all(oidc_arn=args.identity.oidc_arn, issuer=args.identity.issuer).apply(
            lambda known: service_account_trust(namespace=args.namespace, service_account=args.service_account, **known)
        )
        named = None
        if len(name) + 8 > _LONGEST_ROLE:  # unique in the account, as Pulumi's own name would be
            named = shortened(f"{name}-{pulumi.get_stack()}-{args.identity.account.region}", _LONGEST_ROLE)
        role = aws.iam.Role(name, name=named, assume_role_policy=trust, tags=dict(args.tags), opts=child)
        texts: dict[str, pulumi.Output[str]] = {name: pulumi.Output.from_input(args.statements).apply(document)}
        texts |= {f"{name}-{suffix}": pulumi.Output.from_input(document(statements)) for suffix, statements in args.more.items()}
        attached = [attach_policy(policy, role, text, tags=args.tags, opts=child) for policy, text in texts.items()]
        self.arn = after(role.arn, *attached)
        self.register_outputs({"arn": self.arn})


def attach_policy(
    name: str, role: aws.iam.Role, text: pulumi.Input[str], *, tags: Mapping[str, str], opts: pulumi.ResourceOptions
) -> pulumi.Output[str]:
    """Create a policy and attach it to ``role``; return the attachment's id."""
    policy = aws.iam.Policy(name, policy=text, tags=dict(tags), opts=opts)
    return aws.iam.RolePolicyAttachment(name, role=role.name, policy_arn=policy.arn, opts=opts).id


def node_role(
    name: str, account: Account, policies: Sequence[str], *, tags: Mapping[str, str], opts: pulumi.ResourceOptions
) -> tuple[aws.iam.Role, pulumi.Output[str]]:
    """Create a role of nodes with AWS' managed ``policies``, by name.

    Returns the role, and its ARN once the policies are attached: a node without them never joins the cluster.
    """
    role = aws.iam.Role(name, assume_role_policy=service_trust(account.ec2), tags=dict(tags), opts=opts)
    attached = [
        aws.iam.RolePolicyAttachment(f"{name}-{policy}", role=role.name, policy_arn=account.managed_policy(policy), opts=opts).id
        for policy in policies
    ]
    return role, after(role.arn, *attached)
