"""A model repository in an object store: the release of one folder of models, and on request the bucket.

It creates no identity (each cluster's room binds service accounts). Digest and URL are computed before anything is sent, so that a preview
shows which pods would roll; as outputs they resolve once the release is whole in the bucket.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import pulumi
import pulumi.dynamic

from components.base.errors import FleetError
from components.base.handles import RepositoryHandle
from components.base.naming import type_token
from components.repository.keyfile import read_key_file
from components.repository.release.layout import tree_name
from components.repository.settings import is_loopback
from components.repository.store.s3_errors import environment_endpoint
from components.repository.store.select import place_of
from components.repository.sync import BucketProvider, ReleaseProvider

if TYPE_CHECKING:
    from collections.abc import Mapping

    from components.repository.scan.plan import Plan
    from components.repository.settings import RepositorySettings

_RELEASE_TYPE: Final = "pulumi-python:dynamic/repository:Release"
_DEFAULT_PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443}


@dataclass(frozen=True, kw_only=True)
class ModelRepositoryArgs:
    """Arguments of `ModelRepository`."""

    settings: RepositorySettings
    plan: Plan
    """What `scan.folder.scan` found in the settings' folder, or `rollback.published_plan` in the bucket."""
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """See `scan.needs`."""
    bucket: pulumi.Resource | None = None
    """The bucket, where the stack's cloud provider makes it."""


class _Bucket(pulumi.dynamic.Resource, module="repository", name="Bucket"):
    """A bucket that the stack makes without a cloud's provider."""


class _PublishedRelease(pulumi.dynamic.Resource, module="repository", name="Release"):
    """A release that is whole in its bucket."""

    digest: pulumi.Output[str]
    url: pulumi.Output[str]
    name: pulumi.Output[str | None]
    previous: pulumi.Output[list[str] | None]


class ModelRepository(pulumi.ComponentResource):
    """The release that Triton reads. Raises FleetError like `check_environment`."""

    handle: RepositoryHandle
    release: pulumi.Output[str | None]
    """Name of the release that is served."""
    previous: pulumi.Output[list[str] | None]
    """Names of the releases to roll back to (``repository.release``), the newest first."""

    def __init__(self, name: str, args: ModelRepositoryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        settings, plan = args.settings, args.plan
        root = store_url(settings, os.environ)
        credentials = _credentials(settings)
        key_file = _key_file(settings)
        super().__init__(type_token("repository", "ModelRepository"), name, None, opts)
        owner = f"{pulumi.get_organization()}.{pulumi.get_project()}.{pulumi.get_stack()}.{name}"
        stable = settings.mode != "release"
        depends_on = [] if args.bucket is None else [args.bucket]
        if settings.create_bucket and (args.bucket is None or settings.adopt_bucket):
            bucket: dict[str, object] = {**place_of(settings), "versioning": settings.versioning}
            if settings.kms_key is not None:
                bucket["kmsKey"] = settings.kms_key
            if args.bucket is not None:
                bucket["handedOver"] = True
            depends_on.append(_Bucket(BucketProvider(), name, bucket, pulumi.ResourceOptions(parent=self)))
        release = _PublishedRelease(
            ReleaseProvider(),
            name,
            {
                **place_of(settings),
                "prefix": settings.prefix,
                "digest": plan.digest,
                "models": plan.models,
                "source": settings.source,
                "createBucket": settings.create_bucket if args.bucket is None else "adopt" if settings.adopt_bucket else "cloud",
                "owner": owner,
                "url": f"{root}/live/{owner}" if stable else root,
                "mode": settings.mode,
                "keep": settings.keep,
                "release": settings.release,
                "verify": settings.verify,
                # Where progress is shown. A future, because an output would make the child depend on its parent.
                "display": self._urn_of_child(_RELEASE_TYPE, name),
                # Outputs of the provider.
                "name": None,
                "previous": None,
            },
            pulumi.ResourceOptions(parent=self, depends_on=depends_on),
        )
        trees = {model: f"models/{tree_name(model, digest)}" for model, digest in plan.models.items()}
        self.handle = RepositoryHandle(
            url=release.url,
            urls={} if stable else {model: pulumi.Output.concat(release.url, "/", tree) for model, tree in trees.items()},
            # Pods of a stable prefix are not replaced when its content changes.
            digest=release.digest.apply(lambda _: "") if stable else release.digest,
            models=tuple(plan.models),
            sizes=plan.sizes,
            mode=settings.mode,
            region=settings.region,
            credentials=credentials,
            key_file=key_file,
            needs=args.needs,
        )
        self.release, self.previous = release.name, release.previous
        self.register_outputs({"url": release.url, "digest": release.digest, "release": release.name})

    async def _urn_of_child(self, kind: str, name: str) -> str:
        urn = await self.urn.future()
        return f"{str(urn).rsplit('::', 1)[0]}${kind}::{name}"


def check_environment(settings: RepositorySettings, environ: Mapping[str, str]) -> None:
    """Check the settings against the environment that Pulumi runs in, before anything is declared.

    Raises:
        FleetError: When pods could not find the store, or Triton's keys are not found.
    """
    store_url(settings, environ)
    read_key_file(settings)
    if settings.credentials == "environment":
        _find_keys()


def custom_endpoint(settings: RepositorySettings, environ: Mapping[str, str]) -> str | None:
    """URL of the S3-compatible store or the emulator that holds the bucket; None for AWS and Google."""
    if settings.store == "gcs":
        return environ.get("STORAGE_EMULATOR_HOST") or None
    return settings.cluster_endpoint or settings.endpoint or environment_endpoint(environ)


def store_url(settings: RepositorySettings, environ: Mapping[str, str]) -> str:
    """URL of the releases for Triton's --model-repository, as pods reach it.

    Raises:
        FleetError: When the store's only known address is a loopback address of the machine that runs Pulumi.
    """
    path = f"{settings.bucket}/{settings.prefix}"
    if settings.store == "gcs":
        return f"gs://{path}"
    endpoint = custom_endpoint(settings, environ)
    if endpoint is None:
        return f"s3://{path}"
    if settings.cluster_endpoint is None and settings.endpoint is None and is_loopback(endpoint):
        raise FleetError(
            f"triton-fleet:repository.clusterEndpoint is missing: uploads go to {endpoint} (AWS_ENDPOINT_URL_S3), and pods would look for "
            "the store inside themselves. Set it to the store's address as pods reach it."
        )
    address = urlsplit(endpoint)
    port = address.port or _DEFAULT_PORTS[address.scheme]  # Triton needs the port of an S3-compatible store
    host = f"[{address.hostname}]" if ":" in (address.hostname or "") else address.hostname
    return f"s3://{address.scheme}://{host}:{port}/{path}"


def _find_keys() -> dict[str, str]:
    """Keys of the AWS default chain, as environment variables for Triton. Raises FleetError when the chain finds none."""
    import boto3  # noqa: PLC0415  # only a stack that asks for keys loads it

    found = boto3.session.Session().get_credentials()
    if found is None:
        raise FleetError(
            "triton-fleet:repository.credentials is environment, and the AWS default chain finds no keys where Pulumi runs: Triton could "
            'not read the bucket. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (`eval "$(make -s env)"` for the embedded store), or use '
            "serviceAccount."
        )
    keys = found.get_frozen_credentials()
    variables = {"AWS_ACCESS_KEY_ID": str(keys.access_key), "AWS_SECRET_ACCESS_KEY": str(keys.secret_key)}
    if keys.token:
        variables["AWS_SESSION_TOKEN"] = keys.token
    return variables


def _credentials(settings: RepositorySettings) -> pulumi.Output[dict[str, str]] | None:
    if settings.credentials != "environment":
        return None
    variables = _find_keys()
    if "AWS_SESSION_TOKEN" in variables:
        pulumi.log.warn(
            "triton-fleet:repository.credentials is environment, and the keys found are temporary: pods that start after they expire can't "
            "read the bucket. Use keys of a user made for it, or serviceAccount."
        )
    return pulumi.Output.secret(variables)


def _key_file(settings: RepositorySettings) -> pulumi.Output[str] | None:
    content = read_key_file(settings)
    if content is None:
        return None
    pulumi.log.warn(
        "triton-fleet:repository.credentials is keyFile: the key never expires, and anyone who can read the namespace's Secrets can use "
        "it; the state contains it, encrypted. If the cluster has Workload Identity, use it (credentials: serviceAccount)."
    )
    return pulumi.Output.secret(content)
