"""An ECR repository for the stack's own Triton images. Creates no image: `components/images/` does."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from components.base.handles import ImageRegistry
from components.base.naming import type_token
from components.base.outputs import after

if TYPE_CHECKING:
    from collections.abc import Mapping

    from components.base.clusters import ImageRepositorySettings


def lifecycle(keep_untagged_days: int) -> str:
    """Return a lifecycle policy that deletes untagged images after ``keep_untagged_days``. Deployments name tagged ones, so these stay."""
    selection = {"tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": keep_untagged_days}
    # A new description would replace the policy.
    rule = {"rulePriority": 1, "description": "images that no tag names", "selection": selection, "action": {"type": "expire"}}
    return json.dumps({"rules": [rule]}, sort_keys=True)


@dataclass(frozen=True, kw_only=True)
class ImageRepositoryArgs:
    """Arguments of `ImageRepository`."""

    settings: ImageRepositorySettings
    tags: Mapping[str, str]
    provider: aws.Provider


class ImageRepository(pulumi.ComponentResource):
    """A repository with immutable tags, except ``cache*`` for builds, that scans images when they are pushed."""

    handle: ImageRegistry

    def __init__(self, name: str, args: ImageRepositoryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(type_token("cluster", "ImageRepository"), name, None, opts)
        settings = args.settings
        child = pulumi.ResourceOptions(parent=self, provider=args.provider)
        repository = aws.ecr.Repository(
            name,
            name=settings.name,
            image_tag_mutability="IMMUTABLE_WITH_EXCLUSION",
            image_tag_mutability_exclusion_filters=[
                aws.ecr.RepositoryImageTagMutabilityExclusionFilterArgs(filter="cache*", filter_type="WILDCARD")
            ],
            image_scanning_configuration=aws.ecr.RepositoryImageScanningConfigurationArgs(scan_on_push=True),
            force_delete=not settings.retain,
            tags=dict(args.tags),
            opts=child,
        )
        policy = aws.ecr.LifecyclePolicy(name, repository=repository.name, policy=lifecycle(settings.keep_untagged_days), opts=child)
        url = after(repository.repository_url, policy.id)
        token = aws.ecr.get_authorization_token_output(
            registry_id=repository.registry_id, opts=pulumi.InvokeOutputOptions(parent=self, provider=args.provider)
        )
        self.handle = ImageRegistry(
            url=url,
            address=url.apply(lambda known: known.split("/", maxsplit=1)[0]),
            username=token.user_name,
            password=pulumi.Output.secret(token.password),
        )
        self.register_outputs({"url": url})
