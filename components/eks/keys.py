"""KMS keys of an EKS cluster: policies of those that the stack makes, and the checks of those that it is given.

What a key's policy does not allow, no role's policy can: a node whose disk can't be decrypted is ended seconds after its start, with
``Client.InvalidKMSKey.InvalidState`` on the scaling group and not a word in Kubernetes. A key of the stack's own is therefore made with all
that its use needs; one that is given is looked up, but AWS shows its policy to nobody who may not administer it: docs/components/eks.md has
the statements.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import pulumi
import pulumi_aws as aws

from components.base.errors import FleetError
from components.eks.iam import Statement, document

if TYPE_CHECKING:
    from collections.abc import Mapping

    from components.eks.identity import Account

_WINDOW_DAYS: Final = 7
_USE: Final = ("kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*")
SCALING_ROLE: Final = "AWSServiceRoleForAutoScaling"
_SCALING_PATH: Final = "/aws-service-role/autoscaling.amazonaws.com/"

Purpose = Literal["secrets", "disks", "logs"]
"""What a key is for."""


def account_statements(account: Account) -> tuple[Statement, ...]:
    """Hand the key over to the account's own policies: roles that name it may then use it, and administrators change it.

    Not ``kms:*``, which is what a key gets without a policy: every action that is needed, by name.
    """
    root = {"AWS": (f"arn:{account.partition}:iam::{account.id}:root",)}
    return (
        Statement(
            sid="Administer",
            actions=(
                "kms:CancelKeyDeletion",
                "kms:CreateAlias",
                "kms:DeleteAlias",
                "kms:DescribeKey",
                "kms:DisableKey",
                "kms:DisableKeyRotation",
                "kms:EnableKey",
                "kms:EnableKeyRotation",
                "kms:GetKeyPolicy",
                "kms:GetKeyRotationStatus",
                "kms:ListGrants",
                "kms:ListKeyPolicies",
                "kms:ListKeyRotations",
                "kms:ListResourceTags",
                "kms:PutKeyPolicy",
                "kms:RetireGrant",
                "kms:RevokeGrant",
                "kms:RotateKeyOnDemand",
                "kms:ScheduleKeyDeletion",
                "kms:TagResource",
                "kms:UntagResource",
                "kms:UpdateAlias",
                "kms:UpdateKeyDescription",
            ),
            resources=("*",),
            principals=root,
        ),
        Statement(sid="UseByRole", actions=(*_USE, "kms:CreateGrant"), resources=("*",), principals=root),
    )


def scaling_statements(account: Account) -> tuple[Statement, ...]:
    """Let scaling groups start nodes with encrypted disks (EC2 Auto Scaling user guide, "required KMS key policy").

    They do so by their service-linked role, which has no policy of its own to name a key in.
    """
    role = {"AWS": (f"arn:{account.partition}:iam::{account.id}:role{_SCALING_PATH}{SCALING_ROLE}",)}
    return (
        Statement(sid="UseForDisks", actions=_USE, resources=("*",), principals=role),
        Statement(
            sid="LendForDisks",
            actions=("kms:CreateGrant",),
            resources=("*",),
            principals=role,
            conditions={"Bool": {"kms:GrantIsForAWSResource": "true"}},
        ),
    )


def log_statements(account: Account, log_group: str) -> tuple[Statement, ...]:
    """Let CloudWatch Logs use the key for one log group (CloudWatch Logs user guide, "encrypt log data using KMS")."""
    return (
        Statement(
            sid="UseForLogs",
            actions=_USE,
            resources=("*",),
            principals={"Service": (account.service("logs"),)},
            conditions={"ArnEquals": {"kms:EncryptionContext:aws:logs:arn": account.arn("logs", f"log-group:{log_group}")}},
        ),
    )


def key_policy(purpose: Purpose, account: Account, log_group: str) -> str:
    """Policy of a key that the stack makes. EKS itself needs none: it works by grants that whoever makes the cluster gives it."""
    further: dict[Purpose, tuple[Statement, ...]] = {
        "secrets": (),
        "disks": scaling_statements(account),
        "logs": log_statements(account, log_group),
    }
    return document([*account_statements(account), *further[purpose]])


@dataclass(frozen=True, kw_only=True)
class KeyFacts:
    """What AWS says of a key that is there."""

    state: str
    usage: str
    spec: str


def key_problem(setting: str, arn: str, facts: KeyFacts) -> str | None:
    """Say why a key can't encrypt what ``setting`` (such as ``diskKey``) is for, as a whole message; None when it can."""
    key = f"triton-fleet:cluster.{setting} ({arn})"
    if facts.usage != "ENCRYPT_DECRYPT" or facts.spec != "SYMMETRIC_DEFAULT":
        return f"{key} is a {facts.spec} key for {facts.usage}: AWS' services encrypt with symmetric keys alone. Name a symmetric one."
    if facts.state != "Enabled":
        return f"{key} is in state {facts.state}: nothing can be encrypted with it. Enable it, or name another."
    return None


def check_keys(keys: Mapping[str, str | None], account: Account, provider: aws.Provider) -> None:
    """Look the given keys up, by setting; None and what is no ARN are left out, and keys of other regions.

    Raises:
        FleetError: With all that can't be found or can't encrypt.
    """
    problems = []
    for setting, arn in keys.items():
        if arn is None or f":kms:{account.region}:" not in arn:
            continue
        try:
            found = aws.kms.get_key(key_id=arn, opts=pulumi.InvokeOptions(provider=provider))
        except Exception as error:  # noqa: BLE001  # what the SDK raises for a failed call
            problems.append(
                f"triton-fleet:cluster.{setting} ({arn}) can't be looked up: what it is to encrypt could not be made. Correct it, or let "
                f"who runs this kms:DescribeKey. AWS says: {error}"
            )
            continue
        facts = KeyFacts(state=found.key_state, usage=found.key_usage, spec=found.customer_master_key_spec)
        problems += [problem for problem in [key_problem(setting, arn, facts)] if problem is not None]
    if problems:
        raise FleetError(*problems)


def check_scaling_role(provider: aws.Provider) -> None:
    """See that the role is there that a disk key's policy names: KMS refuses a policy with an unknown principal.

    New accounts have it not: it comes with the first scaling group ever. The stack does not make it, because it is the whole account's.

    Raises:
        FleetError: When it is not there.
    """
    found = aws.iam.get_roles(name_regex=f"^{SCALING_ROLE}$", path_prefix=_SCALING_PATH, opts=pulumi.InvokeOptions(provider=provider))
    if not found.names:
        raise FleetError(
            f"triton-fleet:cluster.diskKey (create) needs the role {SCALING_ROLE}, which this account has not yet: the key's policy names "
            "it and would be refused. Make it once: aws iam create-service-linked-role --aws-service-name autoscaling.amazonaws.com"
        )


def make_key(
    name: str, purpose: Purpose, *, cluster: str, policy: str, tags: Mapping[str, str], opts: pulumi.ResourceOptions
) -> pulumi.Output[str]:
    """Make a key that turns yearly; give its ARN. Deleted, it stays for a week in which it can be had back."""
    described = {"secrets": "Kubernetes Secrets", "disks": "Disks of nodes and volumes", "logs": "Control plane logs"}[purpose]
    return aws.kms.Key(
        name,
        description=f"{described} of {cluster}",
        enable_key_rotation=True,
        deletion_window_in_days=_WINDOW_DAYS,
        policy=policy,
        tags=dict(tags),
        opts=opts,
    ).arn
