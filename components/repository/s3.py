"""A model repository in an S3 bucket: the release of one folder of models, and on request the bucket.

What it does not do: it makes no identity (a cluster's room binds service accounts), sets no lifecycle or encryption on a bucket that was
there before, and does not judge what is inside a model (`scan.py` says what it checks).

Digest and URL are computed before anything is sent, so that a preview shows which pods would roll; as outputs they resolve only once the
release is whole in the bucket.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import pulumi
import pulumi.dynamic

from components.errors import FleetError
from components.handles import RepositoryHandle
from components.naming import type_token
from components.repository.store import environment_endpoint
from components.repository.sync import BucketProvider, ReleaseProvider
from components.settings.repository import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

    from components.repository.scan import Plan
    from components.settings.repository import RepositorySettings

_DEFAULT_PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443}


@dataclass(frozen=True, kw_only=True)
class ModelRepositoryArgs:
    """Arguments of `ModelRepository`."""

    settings: RepositorySettings
    plan: Plan
    """What `components.repository.scan` found in the settings' folder."""


class _Bucket(pulumi.dynamic.Resource, module="repository", name="Bucket"):
    """A bucket that lives and dies with the stack."""


class _Release(pulumi.dynamic.Resource, module="repository", name="Release"):
    """A release that is whole in its bucket."""

    digest: pulumi.Output[str]
    url: pulumi.Output[str]


class ModelRepository(pulumi.ComponentResource):
    """The release that Triton reads. Raises FleetError like `check_environment`."""

    handle: RepositoryHandle

    def __init__(self, name: str, args: ModelRepositoryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        settings, plan = args.settings, args.plan
        url = release_url(settings, plan.digest, os.environ)
        credentials = _credentials() if settings.credentials == "environment" else None
        super().__init__(type_token("repository", "ModelRepository"), name, None, opts)
        place = {"bucket": settings.bucket, "region": settings.region}
        if settings.endpoint is not None:
            place["endpoint"] = settings.endpoint
        depends_on: list[pulumi.Resource] = []
        if settings.create_bucket:
            depends_on.append(_Bucket(BucketProvider(), name, dict(place), pulumi.ResourceOptions(parent=self)))
        release = _Release(
            ReleaseProvider(),
            name,
            {
                **place,
                "prefix": settings.prefix,
                "digest": plan.digest,
                "models": plan.models,
                "source": settings.source,
                "createBucket": settings.create_bucket,
                "owner": f"{pulumi.get_organization()}.{pulumi.get_project()}.{pulumi.get_stack()}.{name}",
                "url": url,
            },
            pulumi.ResourceOptions(parent=self, depends_on=depends_on),
        )
        self.handle = RepositoryHandle(
            url=release.url,
            digest=release.digest,
            models=tuple(plan.models),
            region=settings.region,
            credentials=credentials,
        )
        self.register_outputs({"url": release.url, "digest": release.digest})


def check_environment(settings: RepositorySettings, environ: Mapping[str, str]) -> None:
    """See whether the settings and the environment that Pulumi runs in go together, before anything is declared.

    Raises:
        FleetError: When pods could not find the store, or when the keys that Triton is to get are not to be found.
    """
    release_url(settings, "", environ)
    if settings.credentials == "environment":
        _find_keys()


def release_url(settings: RepositorySettings, digest: str, environ: Mapping[str, str]) -> str:
    """What Triton's --model-repository takes for a release, as seen from a pod.

    Raises:
        FleetError: When the only address known of the store is loopback of the machine that runs Pulumi.
    """
    path = f"{settings.bucket}/{settings.prefix}/{digest}"
    endpoint = settings.cluster_endpoint or settings.endpoint
    if endpoint is None:
        endpoint = environment_endpoint(environ)
        if endpoint is not None and is_loopback(endpoint):
            raise FleetError(
                f"triton-fleet:repository.clusterEndpoint is missing: uploads go to {endpoint} (AWS_ENDPOINT_URL_S3), and pods would "
                f"look for that "
                "inside themselves. Set it to the store's address as pods see it."
            )
    if endpoint is None:
        return f"s3://{path}"
    address = urlsplit(endpoint)
    # Triton wants the port of a store of one's own spelled out.
    port = address.port or _DEFAULT_PORTS[address.scheme]
    host = f"[{address.hostname}]" if ":" in (address.hostname or "") else address.hostname
    return f"s3://{address.scheme}://{host}:{port}/{path}"


def _find_keys() -> dict[str, str]:
    """Keys out of the AWS default chain, as environment variables for Triton.

    Raises:
        FleetError: When the chain finds none.
    """
    import boto3  # noqa: PLC0415  # only the stack that asks for keys pays for it

    found = boto3.session.Session().get_credentials()
    if found is None:
        raise FleetError(
            "triton-fleet:repository.credentials is environment, and the AWS default chain finds no keys where Pulumi runs: Triton "
            "could not read "
            'the bucket. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (`eval "$(make -s env)"` for the embedded store), or use '
            "serviceAccount."
        )
    keys = found.get_frozen_credentials()
    variables = {"AWS_ACCESS_KEY_ID": str(keys.access_key), "AWS_SECRET_ACCESS_KEY": str(keys.secret_key)}
    if keys.token:
        variables["AWS_SESSION_TOKEN"] = keys.token
    return variables


def _credentials() -> pulumi.Output[dict[str, str]]:
    variables = _find_keys()
    if "AWS_SESSION_TOKEN" in variables:
        pulumi.log.warn(
            "triton-fleet:repository.credentials is environment, and the keys found are temporary: pods that start after they expire "
            "can't read the "
            "bucket. Use keys of a user made for it, or serviceAccount."
        )
    return pulumi.Output.secret(variables)
