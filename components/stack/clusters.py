"""What depends on the provider: the cluster, the models' bucket, the identity that reads it, and the cluster's add-ons.

A provider is a branch in each function and a folder of `components/`. A cloud's SDK is imported only by its own stacks.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.base.load_balancers import built_in, controller_of
from components.eks.cluster_autoscaler import ClusterAutoscaler, ClusterAutoscalerArgs
from components.eks.karpenter.controller import Karpenter, KarpenterArgs
from components.eks.karpenter.controller import gpu_pools as karpenter_pools
from components.eks.load_balancer import LoadBalancerController, LoadBalancerControllerArgs
from components.gke.gpu_driver import GpuDriver, GpuDriverArgs
from components.gpu.device_plugin import GpuPlugin, GpuPluginArgs, needing
from components.gpu.overprovisioning import Placeholders, PlaceholdersArgs
from components.repository.resource import custom_endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pulumi

    from components.base.handles import ClusterHandle, ImageRegistry, LoadBalancerHandle, RepositoryHandle
    from components.eks.identity import Identity
    from components.existing.kubeconfig import Access
    from components.serving.settings import ServingSettings
    from components.stack.settings import Settings


@dataclass(frozen=True, kw_only=True)
class MadeCluster:
    """A cluster, and what comes with its cloud."""

    handle: ClusterHandle
    identity: Identity | None = None
    """For roles of service accounts; only on EKS."""
    registry: ImageRegistry | None = None
    """For the stack's own images; None without `imageRepository`."""


def make_cluster(settings: Settings, access: Access | None, child: pulumi.ResourceOptions) -> MadeCluster:
    """Create the cluster, or connect to it."""
    if settings.cluster.provider == "eks":
        from components.eks.cluster import EksCluster, EksClusterArgs  # noqa: PLC0415  # as above

        args = EksClusterArgs(
            settings=settings.cluster,
            autoscaler=settings.autoscaler.kind,
            load_balancer=settings.load_balancer.enabled,
            resource_metrics=settings.ingress.kind == "istio",
        )
        made = EksCluster("cluster", args, child)
        return MadeCluster(handle=made.handle, identity=made.identity, registry=made.registry)
    if settings.cluster.provider == "gke":
        from components.gke.cluster import GkeCluster, GkeClusterArgs  # noqa: PLC0415  # as above
        from components.gke.network import ADAPTER_PORT, ISTIOD_PORT, OPERATOR_PORT  # noqa: PLC0415  # as above

        ports = [ADAPTER_PORT, OPERATOR_PORT, *([ISTIOD_PORT] if settings.ingress.kind == "istio" else [])]
        gke = GkeCluster(
            "cluster",
            GkeClusterArgs(
                settings=settings.cluster,
                images=[entry.image for entry in settings.serving],
                webhook_ports=ports,
                build_cache=any(image.kind == "build" and image.cache for image in settings.images),
            ),
            child,
        )
        return MadeCluster(handle=gke.handle, registry=gke.registry)
    if access is None:
        raise TypeError  # the checks have found an existing cluster before anything is created
    from components.existing.cluster import ExistingCluster  # noqa: PLC0415  # as above

    return MadeCluster(handle=ExistingCluster("cluster", access, child).handle)


def model_bucket(settings: Settings, made: MadeCluster, child: pulumi.ResourceOptions) -> pulumi.Resource | None:
    """Create the models' bucket with the cluster's cloud provider; None if the repository creates it, or no bucket is created."""
    repository, cluster = settings.repository, settings.cluster
    if not repository.create_bucket or custom_endpoint(repository, os.environ) is not None:
        return None
    if cluster.provider == "eks" and repository.store == "s3" and made.identity is not None:
        from components.eks import model_bucket as s3  # noqa: PLC0415  # as above

        args = s3.ModelBucketArgs(
            bucket=repository.bucket,
            region=repository.signing_region,
            versioning=repository.versioning,
            kms_key=repository.kms_key,
            adopt=repository.adopt_bucket,
            tags=cluster.tags,
            provider=made.identity.provider,
        )
        return s3.ModelBucket("repository", args, child)
    if cluster.provider == "gke" and repository.store == "gcs" and made.handle.gcp is not None:
        from components.gke import model_bucket as gcs  # noqa: PLC0415  # as above

        return gcs.ModelBucket(
            "repository",
            gcs.ModelBucketArgs(
                bucket=repository.bucket,
                project=repository.project,
                location=repository.location or "",
                versioning=repository.versioning,
                kms_key=repository.kms_key,
                adopt=repository.adopt_bucket,
                tags=cluster.tags,
                provider=made.handle.gcp.gcp,
            ),
            child,
        )
    return None


def reader_annotations(
    settings: Settings, entry: ServingSettings, made: MadeCluster, models: RepositoryHandle, child: pulumi.ResourceOptions
) -> dict[str, pulumi.Input[str]]:
    """Create the identity that reads a deployment's models without keys; return the annotations that bind its service account to it."""
    repository, cluster, gcp = settings.repository, settings.cluster, made.handle.gcp
    if repository.credentials != "serviceAccount":
        return {}
    if cluster.provider == "gke" and repository.store == "gcs" and gcp is not None:
        from components.gke.identity import ModelReader, ModelReaderArgs  # noqa: PLC0415  # as above

        reader = ModelReaderArgs(
            access=gcp,
            # Resolves once the bucket exists, and orders the deletion: first the permissions, then the bucket.
            bucket=models.url.apply(lambda _: repository.bucket),
            bucket_name=repository.bucket,
            prefix=repository.prefix,
            namespace=entry.namespace,
            service_account=entry.name,
            direct=cluster.identity == "principal",
        )
        return ModelReader(f"{entry.name}-reader", reader, child).annotations
    if cluster.provider == "eks" and repository.store == "s3" and made.identity is not None:
        from components.eks.iam import ROLE_ANNOTATION  # noqa: PLC0415  # as above
        from components.eks.identity import ServiceAccountRole, ServiceAccountRoleArgs  # noqa: PLC0415  # as above
        from components.eks.policies import model_reader  # noqa: PLC0415  # as above

        args = ServiceAccountRoleArgs(
            identity=made.identity,
            namespace=entry.namespace,
            service_account=entry.name,
            statements=model_reader(
                made.identity.account,
                bucket=repository.bucket,
                prefix=repository.prefix,
                key=cluster.models_key,
                region=repository.signing_region,
            ),
            tags=cluster.tags,
        )
        return {ROLE_ANNOTATION: ServiceAccountRole(f"{entry.name}-reader", args, child).arn}
    return {}


def cluster_addons(
    settings: Settings, cluster: ClusterHandle, images: Mapping[str, pulumi.Output[str]], child: pulumi.ResourceOptions
) -> tuple[list[pulumi.Output[str]], LoadBalancerHandle]:
    """Create what the settings enable for nodes, GPUs and load balancers. ``images``: those of the stack, by the name that deployments use.

    Returns:
        What Triton is created after and deleted before, and what creates load balancers for Services.
    """
    charts, aws, pools = settings.charts, cluster.aws, cluster.gpu_pools
    autoscaler = None
    if settings.autoscaler.kind == "karpenter" and aws is not None:
        pools = (*pools, *karpenter_pools(settings.autoscaler))
        args = KarpenterArgs(cluster=cluster, aws=aws, settings=settings.autoscaler, charts=charts)
        autoscaler = Karpenter("karpenter", args, child).ready
    elif settings.autoscaler.kind == "clusterAutoscaler" and aws is not None:
        scaling = ClusterAutoscalerArgs(cluster=cluster, aws=aws, settings=settings.autoscaler, charts=charts, hops=settings.hops)
        autoscaler = ClusterAutoscaler("autoscaler", scaling, child).ready
    ready = [] if autoscaler is None else [autoscaler]
    if settings.gpu_plugin.enabled and (without_plugin := needing(pools)):
        plugin = GpuPluginArgs(cluster=cluster, settings=settings.gpu_plugin, charts=charts, pools=without_plugin)
        ready.append(GpuPlugin("gpu-plugin", plugin, child).ready)
    if drivers := [pool for pool in pools if pool.driver == "daemonSet"]:
        ready.append(GpuDriver("gpu-driver", GpuDriverArgs(cluster=cluster, pools=drivers), child).ready)
    load_balancer = built_in(controller_of(settings.cluster.provider), cluster.name)
    if settings.load_balancer.enabled and aws is not None:
        controller = LoadBalancerControllerArgs(cluster=cluster, aws=aws, charts=charts, hops=settings.hops)
        load_balancer = LoadBalancerController("load-balancer", controller, child).handle
        ready.append(load_balancer.ready)
    if settings.warm_floor:
        pulled = [images.get(entry.image, entry.image) for entry in settings.serving if entry.resources.gpus]
        floors = PlaceholdersArgs(cluster=cluster, floors=settings.warm_floor, pools=pools, images=pulled, autoscaler=autoscaler)
        Placeholders("placeholders", floors, child)
    if settings.stackdriver.enabled and cluster.gcp is not None:
        from components.gke.stackdriver import StackdriverAdapter, StackdriverAdapterArgs  # noqa: PLC0415  # as above

        StackdriverAdapter("stackdriver", StackdriverAdapterArgs(cluster=cluster, access=cluster.gcp, settings=settings.stackdriver), child)
    return ready, load_balancer
