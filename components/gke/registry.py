"""An Artifact Registry repository for the stack's own images. It holds no image yet: what builds or mirrors one pushes to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pulumi
import pulumi_gcp as gcp

from components.base.handles import ImageRegistry
from components.base.naming import type_token
from components.base.outputs import after

if TYPE_CHECKING:
    from collections.abc import Sequence

    from components.base.clusters import ImageRepositorySettings
    from components.gke.settings.cluster import GkeClusterSettings

_TOKEN_USER: Final = "oauth2accesstoken"  # noqa: S105  # a user's name
"""The user name for an access token ("Configure authentication to Artifact Registry for Docker")."""


@dataclass(frozen=True, kw_only=True)
class ArtifactRepositoryArgs:
    """Arguments of `ArtifactRepository`."""

    settings: ImageRepositorySettings
    cluster: GkeClusterSettings
    """The repository has the cluster's name."""
    reader: pulumi.Input[str]
    """IAM member that may pull: the nodes."""
    moving_tags: bool
    """Whether a build caches its layers under a mutable tag; Google's tag immutability allows no exceptions."""
    depends_on: Sequence[pulumi.Resource] = ()


class ArtifactRepository(pulumi.ComponentResource):
    """A repository whose tags never move, unless a build keeps its cache in it."""

    handle: ImageRegistry
    """Its URL resolves once nodes may pull from it."""

    def __init__(self, name: str, args: ArtifactRepositoryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(type_token("cluster", "ArtifactRepository"), name, None, opts)
        settings, cluster = args.settings, args.cluster
        age = f"{settings.keep_untagged_days * 86400}s"
        repository = gcp.artifactregistry.Repository(
            name,
            repository_id=cluster.name,
            project=cluster.project,
            location=cluster.region,
            format="DOCKER",
            description=f"Images of the GKE cluster {cluster.name}",
            docker_config={"immutable_tags": not args.moving_tags},
            cleanup_policies=[{"id": "untagged", "action": "DELETE", "condition": {"tag_state": "UNTAGGED", "older_than": age}}],
            labels=cluster.labels,
            # Google deletes a repository with all its images; `retain` keeps it out of a destroy.
            opts=pulumi.ResourceOptions(parent=self, retain_on_delete=settings.retain or None, depends_on=list(args.depends_on)),
        )
        reader = gcp.artifactregistry.RepositoryIamMember(
            name,
            project=cluster.project,
            location=cluster.region,
            repository=repository.name,
            role="roles/artifactregistry.reader",
            member=args.reader,
            opts=pulumi.ResourceOptions(parent=self),
        )
        host = f"{cluster.region}-docker.pkg.dev"
        # A repository holds many names, unlike ECR's.
        image = pulumi.Output.from_input(f"{host}/{cluster.project}/{cluster.name}/{settings.name}")
        ready = after(image, repository.id, reader.id)
        caller = gcp.organizations.get_client_config_output(opts=pulumi.InvokeOutputOptions(parent=self))
        self.handle = ImageRegistry(
            url=ready,
            address=after(pulumi.Output.from_input(host), ready),
            username=pulumi.Output.from_input(_TOKEN_USER),
            password=pulumi.Output.secret(caller.access_token),
        )
        self.register_outputs({"url": ready})
