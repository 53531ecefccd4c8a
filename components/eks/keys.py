"""KMS keys of an EKS cluster: creates those that the stack owns, and checks those that it is given.

A role's policy can't allow what the key's policy does not. A node whose disk can't be decrypted terminates seconds after its start; the
scaling group then shows ``Client.InvalidKMSKey.InvalidState``, and Kubernetes shows nothing. So a key of the stack gets a policy for its
use. Of a given key only state and type are checked, because AWS shows its policy only to its administrators; docs/components/eks.md lists
the statements that it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pulumi
import pulumi_aws as aws

from components.base.errors import FleetError
from components.eks.policies import SCALING_PATH, SCALING_ROLE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from components.eks.iam import Account
    from components.eks.policies import Purpose

_DESCRIPTIONS: Final[Mapping[Purpose, str]] = {
    "secrets": "Kubernetes Secrets",
    "disks": "Disks of nodes and volumes",
    "logs": "Control plane logs",
}


def create_key(
    name: str, purpose: Purpose, *, cluster: str, policy: str, tags: Mapping[str, str], opts: pulumi.ResourceOptions
) -> pulumi.Output[str]:
    """Create a key that rotates every year; return its ARN. A deleted key can be restored for 7 days."""
    return aws.kms.Key(
        name,
        description=f"{_DESCRIPTIONS[purpose]} of {cluster}",
        enable_key_rotation=True,
        deletion_window_in_days=7,
        policy=policy,
        tags=dict(tags),
        opts=opts,
    ).arn


def check_keys(keys: Mapping[str, str | None], account: Account, provider: aws.Provider) -> None:
    """Look up the given keys, by setting such as ``diskKey``. Skips None, ``create``, ``none``, and keys of other regions.

    Raises:
        FleetError: With every key that can't be found or can't encrypt.
    """
    problems = []
    for setting, arn in keys.items():
        if arn is None or f":kms:{account.region}:" not in arn:
            continue
        key = f"triton-fleet:cluster.{setting} ({arn})"
        try:
            found = aws.kms.get_key(key_id=arn, opts=pulumi.InvokeOptions(provider=provider))
        except Exception as error:  # noqa: BLE001  # the SDK raises a bare Exception for a failed call
            problems.append(
                f"{key} can't be looked up: what it encrypts could not be created. Correct the ARN, or allow kms:DescribeKey to the "
                f"principal that runs Pulumi. AWS says: {error}"
            )
            continue
        if found.key_usage != "ENCRYPT_DECRYPT" or found.customer_master_key_spec != "SYMMETRIC_DEFAULT":
            problems.append(
                f"{key} is a {found.customer_master_key_spec} key for {found.key_usage}: AWS services encrypt with symmetric keys only. "
                "Name a symmetric key."
            )
        elif found.key_state != "Enabled":
            problems.append(f"{key} is in state {found.key_state}: it can't encrypt anything. Enable it, or name another key.")
    if problems:
        raise FleetError(*problems)


def check_scaling_role(provider: aws.Provider) -> None:
    """Check that the role exists that a disk key's policy names: KMS refuses a policy with an unknown principal.

    AWS creates the role with an account's first scaling group. The stack does not create it, because it belongs to the whole account.

    Raises:
        FleetError: If it does not exist.
    """
    found = aws.iam.get_roles(name_regex=f"^{SCALING_ROLE}$", path_prefix=SCALING_PATH, opts=pulumi.InvokeOptions(provider=provider))
    if not found.names:
        raise FleetError(
            f"triton-fleet:cluster.diskKey (create) needs the role {SCALING_ROLE}, which this account does not have yet: KMS would refuse "
            "the key's policy, which names it. Create it once: "
            "aws iam create-service-linked-role --aws-service-name autoscaling.amazonaws.com"
        )
