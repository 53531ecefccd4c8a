"""An Artifact Registry repository for Triton images of one's own. Makes no image: what builds or mirrors one pushes here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pulumi

from components.cluster.network import after
from components.naming import type_token

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pulumi_gcp as gcp

    from components.settings.cluster import ImageRepositorySettings

_DAY_S: Final = 86400
_READER: Final = "roles/artifactregistry.reader"


def url(*, region: str, project: str, repository: str, image: str) -> str:
    """What images are named by, before ``@`` or ``:``. A repository of Artifact Registry holds many names; ECR's has one."""
    return f"{region}-docker.pkg.dev/{project}/{repository}/{image}"


@dataclass(frozen=True, kw_only=True)
class ArtifactRepositoryArgs:
    """Arguments of `ArtifactRepository`."""

    settings: ImageRepositorySettings
    cluster: str
    """Name of the cluster, and of the repository."""
    project: str
    region: str
    reader: pulumi.Input[str]
    """IAM member that may pull: the nodes."""
    tags: Mapping[str, str]
    provider: gcp.Provider
    depends_on: Sequence[pulumi.Resource] = ()


class ArtifactRepository(pulumi.ComponentResource):
    """A repository whose tags never move."""

    url: pulumi.Output[str]
    """What images are named by, before ``@`` or ``:``; resolves once nodes may pull them."""

    def __init__(self, name: str, args: ArtifactRepositoryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        import pulumi_gcp as gcp  # noqa: PLC0415  # only a stack on Google Cloud pays for it

        super().__init__(type_token("cluster", "ArtifactRepository"), name, None, opts)
        settings = args.settings
        child = pulumi.ResourceOptions(parent=self, provider=args.provider)
        repository = gcp.artifactregistry.Repository(
            name,
            repository_id=args.cluster,
            project=args.project,
            location=args.region,
            format="DOCKER",
            description=f"Images of the GKE cluster {args.cluster}",
            docker_config=gcp.artifactregistry.RepositoryDockerConfigArgs(immutable_tags=True),
            cleanup_policies=[
                gcp.artifactregistry.RepositoryCleanupPolicyArgs(
                    id="untagged",
                    action="DELETE",
                    condition=gcp.artifactregistry.RepositoryCleanupPolicyConditionArgs(
                        tag_state="UNTAGGED", older_than=f"{settings.keep_untagged_days * _DAY_S}s"
                    ),
                )
            ],
            labels=dict(args.tags),
            # Google deletes a repository with all that is in it and asks nobody: `retain` leaves it where it is.
            opts=pulumi.ResourceOptions.merge(
                child, pulumi.ResourceOptions(retain_on_delete=settings.retain or None, depends_on=list(args.depends_on))
            ),
        )
        reader = gcp.artifactregistry.RepositoryIamMember(
            name,
            project=args.project,
            location=args.region,
            repository=repository.name,
            role=_READER,
            member=args.reader,
            opts=child,
        )
        address = url(region=args.region, project=args.project, repository=args.cluster, image=settings.name)
        self.url = after(pulumi.Output.from_input(address), repository.id, reader.id)
        self.register_outputs({"url": self.url})
