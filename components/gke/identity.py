"""Who may do what in a Google Cloud project: the nodes' service account, and the identity that each Triton deployment reads its models by.

No key is made anywhere: nodes get tokens from Compute Engine, pods from GKE's metadata server (Workload Identity).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pulumi
import pulumi_gcp as gcp

from components.base.naming import type_token
from components.base.outputs import after

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from components.gke.settings.cluster import GkeClusterSettings

_LONGEST_ACCOUNT: Final = 30
_NODE_ROLE: Final = "roles/container.defaultNodeServiceAccount"
"""What GKE asks of nodes and no more: to write logs and metrics (Google's Terraform modules)."""
_STREAMING_ROLE: Final = "roles/serviceusage.serviceUsageConsumer"
_IMAGES_ROLE: Final = "roles/artifactregistry.reader"
BUCKET_ROLE: Final = "roles/storage.legacyBucketReader"
"""Triton asks for the bucket itself before all else (storage.buckets.get), which objectViewer does not allow (server#2253)."""
OBJECT_ROLE: Final = "roles/storage.objectViewer"
IMPERSONATION_ROLE: Final = "roles/iam.workloadIdentityUser"
ANNOTATION: Final = "iam.gke.io/gcp-service-account"


def account_id(*parts: str) -> str:
    """Id of a service account, at most 30 characters: a name that is longer is cut and told apart by a hash."""
    full = "-".join(parts)
    if len(full) <= _LONGEST_ACCOUNT:
        return full
    digest = hashlib.sha256(full.encode()).hexdigest()[:6]
    return f"{full[: _LONGEST_ACCOUNT - 7].rstrip('-')}-{digest}"


def node_roles(settings: GkeClusterSettings, images: Iterable[str]) -> tuple[str, ...]:
    """Roles of the nodes' service account in the project. ``images`` are those of the deployments.

    A repository that the stack makes lets nodes read it by itself; other repositories of the project only when an image is in one.
    """
    roles = [_NODE_ROLE]
    if any(pool.streams for pool in settings.gpu_pools):
        roles.append(_STREAMING_ROLE)
    if any(_in_project(image, settings.project) for image in images):
        roles.append(_IMAGES_ROLE)
    return tuple(dict.fromkeys([*roles, *settings.node_roles]))


def _in_project(image: str, project: str) -> bool:
    host, _, path = image.partition("/")
    return host.endswith(("docker.pkg.dev", "gcr.io")) and path.startswith(f"{project}/")


def reader_condition(bucket: str, prefix: str) -> str:
    """Condition (CEL) under which a reader sees objects: below its prefix, and lists of what is below it.

    A list is a request for the bucket and has no object's name, hence the second half.
    """
    objects = f'resource.name.startsWith("projects/_/buckets/{bucket}/objects/{prefix}/")'
    return f'{objects} || api.getAttribute("storage.googleapis.com/objectListPrefix", "").startsWith("{prefix}/")'


def principal(number: str, project: str, namespace: str, service_account: str) -> str:
    """IAM's name of a Kubernetes service account by itself: the project's number first, then its id."""
    pool = f"projects/{number}/locations/global/workloadIdentityPools/{project}.svc.id.goog"
    return f"principal://iam.googleapis.com/{pool}/subject/ns/{namespace}/sa/{service_account}"


@dataclass(frozen=True, kw_only=True)
class NodeAccountArgs:
    """Arguments of `NodeAccount`."""

    cluster: str
    project: str
    roles: Sequence[str]
    provider: pulumi.ProviderResource
    depends_on: Sequence[pulumi.Resource] = ()


class NodeAccount(pulumi.ComponentResource):
    """The nodes' service account."""

    email: pulumi.Output[str]
    """Resolves once its roles are bound: a node without them registers and then reports nothing."""
    member: pulumi.Output[str]

    def __init__(self, name: str, args: NodeAccountArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(type_token("cluster", "NodeAccount"), name, None, opts)
        child = pulumi.ResourceOptions(parent=self, provider=args.provider)
        account = gcp.serviceaccount.Account(
            name,
            account_id=account_id(args.cluster, "nodes"),
            project=args.project,
            display_name=f"Nodes of the GKE cluster {args.cluster}",
            opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=list(args.depends_on))),
        )
        bound = [
            gcp.projects.IAMMember(
                f"{name}-{role.rsplit('/', maxsplit=1)[-1]}", project=args.project, role=role, member=account.member, opts=child
            ).id
            for role in args.roles
        ]
        self.email = after(account.email, *bound)
        self.member = account.member
        self.register_outputs({"email": self.email})


@dataclass(frozen=True, kw_only=True)
class ModelReaderArgs:
    """Arguments of `ModelReader`."""

    cluster: str
    project: str
    workload_pool: pulumi.Input[str]
    """Resolves once the cluster is there: before the first in a project, IAM refuses every binding ("Identity Pool does not exist")."""
    bucket: pulumi.Input[str]
    """Name of the bucket; resolves once it is there."""
    bucket_name: str
    """The same, in a plain value."""
    prefix: str
    namespace: str
    service_account: str
    direct: bool
    """Whether the Kubernetes service account is bound itself, without a Google service account between."""
    provider: pulumi.ProviderResource


class ModelReader(pulumi.ComponentResource):
    """What one deployment's Kubernetes service account may read without a key.

    By default as a Google service account that it acts as. The direct form (``principal://``) has one resource less, and nobody has shown
    that Triton's client, which asks the metadata server for its account's scopes first, works with it.
    """

    annotations: dict[str, pulumi.Input[str]]
    """Annotations of the Kubernetes service account; they resolve once its rights are there."""

    def __init__(self, name: str, args: ModelReaderArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(type_token("cluster", "ModelReader"), name, None, opts)
        child = pulumi.ResourceOptions(parent=self, provider=args.provider)
        pool = pulumi.Output.from_input(args.workload_pool)
        self.annotations = {}
        if args.direct:
            number = gcp.organizations.get_project_output(
                project_id=pool.apply(lambda _: args.project), opts=pulumi.InvokeOutputOptions(provider=args.provider)
            ).number
            member = pulumi.Output.all(number, pool).apply(
                lambda known: principal(known[0], args.project, args.namespace, args.service_account)
            )
            self._bind(name, args, member, child)
        else:
            account = gcp.serviceaccount.Account(
                name,
                account_id=account_id(args.cluster, args.service_account, "reader"),
                project=args.project,
                display_name=f"Models of {args.namespace}/{args.service_account} in the GKE cluster {args.cluster}",
                opts=child,
            )
            acting = gcp.serviceaccount.IAMMember(
                name,
                service_account_id=account.name,
                role=IMPERSONATION_ROLE,
                member=pool.apply(lambda known: f"serviceAccount:{known}[{args.namespace}/{args.service_account}]"),
                opts=child,
            )
            bound = self._bind(name, args, account.member, child)
            self.annotations[ANNOTATION] = after(account.email, acting.id, *bound)
        self.register_outputs({"annotations": self.annotations})

    def _bind(
        self, name: str, args: ModelReaderArgs, member: pulumi.Output[str], child: pulumi.ResourceOptions
    ) -> list[pulumi.Output[str]]:
        objects = gcp.storage.BucketIAMMember(
            f"{name}-objects",
            bucket=args.bucket,
            role=OBJECT_ROLE,
            member=member,
            condition=gcp.storage.BucketIAMMemberConditionArgs(
                title="models",
                description=f"What is below {args.prefix}/",
                expression=reader_condition(args.bucket_name, args.prefix),
            ),
            opts=child,
        )
        bucket = gcp.storage.BucketIAMMember(f"{name}-bucket", bucket=args.bucket, role=BUCKET_ROLE, member=member, opts=child)
        return [objects.id, bucket.id]
