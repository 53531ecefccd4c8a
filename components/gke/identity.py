"""Identities in a Google Cloud project: the nodes' service account, and the one with which each Triton deployment reads its models.

No key exists anywhere: nodes get tokens from Compute Engine, pods from GKE's metadata server (Workload Identity).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pulumi
import pulumi_gcp as gcp

from components.base.naming import shortened, type_token
from components.base.outputs import after

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from components.base.handles import GcpAccess
    from components.gke.settings.cluster import GkeClusterSettings

_LONGEST_ACCOUNT: Final = 30
_LONGEST_DISPLAY_NAME: Final = 100
"""Bytes of a service account's display name (IAM API, projects.serviceAccounts)."""
_NODE_ROLE: Final = "roles/container.defaultNodeServiceAccount"
"""The least that GKE asks of nodes: write logs and metrics (Google's Terraform modules)."""
BUCKET_ROLE: Final = "roles/storage.legacyBucketReader"
"""Triton first asks for the bucket itself (storage.buckets.get), which objectViewer does not allow (server#2253)."""
ANNOTATION: Final = "iam.gke.io/gcp-service-account"


def node_roles(settings: GkeClusterSettings, images: Iterable[str]) -> tuple[str, ...]:
    """Return the project roles of the nodes' service account. ``images`` are those of the deployments.

    Nodes may read the stack's own repository without a project role; the role is added only if an image is in another one of the project.
    """
    roles = [_NODE_ROLE]
    if any(pool.streams for pool in settings.gpu_pools):
        roles.append("roles/serviceusage.serviceUsageConsumer")
    for host, _, path in (image.partition("/") for image in images):
        if host.endswith(("docker.pkg.dev", "gcr.io")) and path.startswith(f"{settings.project}/"):
            roles.append("roles/artifactregistry.reader")
    return tuple(dict.fromkeys([*roles, *settings.node_roles]))


def reader_condition(bucket: str, prefix: str) -> str:
    """Return the condition (CEL) that limits a reader to objects below its prefix, and to listing them.

    A list request names the bucket and no object, hence the second half.
    """
    objects = f'resource.name.startsWith("projects/_/buckets/{bucket}/objects/{prefix}/")'
    return f'{objects} || api.getAttribute("storage.googleapis.com/objectListPrefix", "").startsWith("{prefix}/")'


def principal(access: GcpAccess, namespace: str, service_account: str, opts: pulumi.InvokeOutputOptions) -> pulumi.Output[str]:
    """Return IAM's name of a Kubernetes service account: by the project's number, and the workload pool's name, which has the project's id.

    Known once the cluster exists: the API that returns the number may be enabled only together with the cluster.
    """
    project = gcp.organizations.get_project_output(project_id=access.workload_pool.apply(lambda _: access.project), opts=opts)
    pool = pulumi.Output.concat("projects/", project.number, "/locations/global/workloadIdentityPools/", access.workload_pool)
    return pulumi.Output.concat("principal://iam.googleapis.com/", pool, f"/subject/ns/{namespace}/sa/{service_account}")


@dataclass(frozen=True, kw_only=True)
class NodeAccountArgs:
    """Arguments of `NodeAccount`."""

    cluster: GkeClusterSettings
    images: Sequence[str]
    """Images of the deployments."""
    depends_on: Sequence[pulumi.Resource] = ()


class NodeAccount(pulumi.ComponentResource):
    """The nodes' service account."""

    email: pulumi.Output[str]
    """Resolves once its roles are bound: a node without them registers and then reports nothing."""
    member: pulumi.Output[str]

    def __init__(self, name: str, args: NodeAccountArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(type_token("cluster", "NodeAccount"), name, None, opts)
        cluster, child = args.cluster, pulumi.ResourceOptions(parent=self)
        account = gcp.serviceaccount.Account(
            name,
            account_id=shortened(f"{cluster.name}-nodes", _LONGEST_ACCOUNT),
            project=cluster.project,
            display_name=f"Nodes of the GKE cluster {cluster.name}",
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(args.depends_on)),
        )
        self.member = account.member
        bound = [
            gcp.projects.IAMMember(
                f"{name}-{role.rsplit('/', maxsplit=1)[-1]}", project=cluster.project, role=role, member=account.member, opts=child
            ).id
            for role in node_roles(cluster, args.images)
        ]
        self.email = after(account.email, *bound)
        self.register_outputs({"email": self.email})


@dataclass(frozen=True, kw_only=True)
class ModelReaderArgs:
    """Arguments of `ModelReader`."""

    access: GcpAccess
    """Its workload pool resolves once the cluster exists: IAM refuses bindings made before a project's first cluster."""
    bucket: pulumi.Input[str]
    """Name of the bucket; resolves once the bucket exists."""
    bucket_name: str
    """The same as a plain value."""
    prefix: str
    namespace: str
    service_account: str
    direct: bool
    """Whether the Kubernetes service account itself is bound, without a Google service account in between."""


class ModelReader(pulumi.ComponentResource):
    """What one deployment's Kubernetes service account may read without a key.

    By default the account acts as a Google service account. The direct form (``principal://``) saves that resource, but has not been shown
    to work with Triton's client, which first asks the metadata server for its account's scopes.
    """

    annotations: dict[str, pulumi.Input[str]]
    """Annotations of the Kubernetes service account; they resolve once its permissions exist."""

    def __init__(self, name: str, args: ModelReaderArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        access, identity = args.access, f"{args.namespace}/{args.service_account}"
        opts = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(provider=access.gcp))
        super().__init__(type_token("cluster", "ModelReader"), name, None, opts)
        self.annotations = {}
        if args.direct:
            self._bind(name, args, principal(access, args.namespace, args.service_account, pulumi.InvokeOutputOptions(parent=self)))
        else:
            child = pulumi.ResourceOptions(parent=self)
            account = gcp.serviceaccount.Account(
                name,
                account_id=shortened(f"{access.cluster}-{args.service_account}-reader", _LONGEST_ACCOUNT),
                project=access.project,
                display_name=f"Models of {identity} in the GKE cluster {access.cluster}"[:_LONGEST_DISPLAY_NAME],
                opts=child,
            )
            acting = gcp.serviceaccount.IAMMember(
                name,
                service_account_id=account.name,
                role="roles/iam.workloadIdentityUser",
                member=access.workload_pool.apply(lambda pool: f"serviceAccount:{pool}[{identity}]"),
                opts=child,
            )
            self.annotations[ANNOTATION] = after(account.email, acting.id, *self._bind(name, args, account.member))
        self.register_outputs({"annotations": self.annotations})

    def _bind(self, name: str, args: ModelReaderArgs, member: pulumi.Output[str]) -> list[pulumi.Output[str]]:
        child = pulumi.ResourceOptions(parent=self)
        objects = gcp.storage.BucketIAMMember(
            f"{name}-objects",
            bucket=args.bucket,
            role="roles/storage.objectViewer",
            member=member,
            condition={
                "title": "models",
                "description": f"What is below {args.prefix}/",
                "expression": reader_condition(args.bucket_name, args.prefix),
            },
            opts=child,
        )
        bucket = gcp.storage.BucketIAMMember(f"{name}-bucket", bucket=args.bucket, role=BUCKET_ROLE, member=member, opts=child)
        return [objects.id, bucket.id]
