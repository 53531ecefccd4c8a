"""An Artifact Registry repository for Triton images of one's own. Makes no image: what builds or mirrors one pushes here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pulumi
import pulumi_gcp as gcp

from components.base.handles import ImageRegistry
from components.base.naming import type_token
from components.base.outputs import after

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from components.base.registry import ImageRepositorySettings

_DAY_S: Final = 86400
_TOKEN_USER: Final = "oauth2accesstoken"  # noqa: S105  # a user's name
"""Whom Artifact Registry takes an access token from ("Configure authentication to Artifact Registry for Docker")."""
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
    moving_tags: bool
    """Whether a build keeps its layers under a tag that moves: Google's rule against that knows no exception."""
    tags: Mapping[str, str]
    provider: pulumi.ProviderResource
    depends_on: Sequence[pulumi.Resource] = ()


class ArtifactRepository(pulumi.ComponentResource):
    """A repository whose tags never move, as long as no build keeps a cache in it."""

    handle: ImageRegistry
    """Its URL resolves once nodes may pull from it."""

    def __init__(self, name: str, args: ArtifactRepositoryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
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
            docker_config=gcp.artifactregistry.RepositoryDockerConfigArgs(immutable_tags=not args.moving_tags),
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
        found = after(pulumi.Output.from_input(address), repository.id, reader.id)
        caller = gcp.organizations.get_client_config_output(opts=pulumi.InvokeOutputOptions(parent=self, provider=args.provider))
        self.handle = ImageRegistry(
            url=found,
            address=found.apply(lambda known: known.split("/", maxsplit=1)[0]),
            username=pulumi.Output.from_input(_TOKEN_USER),
            password=pulumi.Output.secret(caller.access_token),
        )
        self.register_outputs({"url": found})
