"""A model repository in an S3 bucket: the release of one folder of models, and on request the bucket.

What it does not do: it makes no identity (a cluster's room binds service accounts), sets no lifecycle or encryption on a bucket that was
there before, and does not judge what is inside a model (`scan.py` says what it checks).

Digest and URL are computed before anything is sent, so that a preview shows which pods would roll; as outputs they resolve only once the
release is whole in the bucket.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import pulumi
import pulumi.dynamic

from components.base.errors import FleetError
from components.base.handles import RepositoryHandle
from components.base.naming import type_token
from components.repository.keyfile import key_output, read_key_file
from components.repository.layout import tree_name
from components.repository.needs import needs
from components.repository.release import Releases
from components.repository.scan import parse_sums
from components.repository.scan import plan as plan_of
from components.repository.settings import is_loopback
from components.repository.store.objects import SHORT_PAUSES_S, in_parallel, patiently
from components.repository.store.s3_errors import environment_endpoint
from components.repository.store.select import open_store
from components.repository.sync import BucketProvider, ReleaseProvider

if TYPE_CHECKING:
    from collections.abc import Mapping

    from components.repository.scan import Plan
    from components.repository.settings import RepositorySettings

_RELEASE_TYPE: Final = "pulumi-python:dynamic/repository:Release"
_DEFAULT_PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443}


@dataclass(frozen=True, kw_only=True)
class ModelRepositoryArgs:
    """Arguments of `ModelRepository`."""

    settings: RepositorySettings
    plan: Plan
    """What `components.repository.scan` found in the settings' folder, or `past_plan` in the bucket."""
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Models that a model loads with itself, by name: see `components.repository.needs`."""
    bucket: pulumi.Resource | None = None
    """The bucket, where the stack's cloud provider makes it."""


class _Bucket(pulumi.dynamic.Resource, module="repository", name="Bucket"):
    """A bucket that lives and dies with the stack."""


class _Release(pulumi.dynamic.Resource, module="repository", name="Release"):
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
    """Names of those that it can be rolled back to (``repository.release``), the newest first."""

    def __init__(self, name: str, args: ModelRepositoryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        settings, plan = args.settings, args.plan
        root = store_url(settings, os.environ)
        credentials = _credentials() if settings.credentials == "environment" else None
        key_file = key_output(settings)
        super().__init__(type_token("repository", "ModelRepository"), name, None, opts)
        place = place_of(settings)
        owner = f"{pulumi.get_organization()}.{pulumi.get_project()}.{pulumi.get_stack()}.{name}"
        stable = settings.mode != "release"
        url = f"{root}/live/{owner}" if stable else root
        depends_on = [] if args.bucket is None else [args.bucket]
        if settings.create_bucket and (args.bucket is None or settings.adopt_bucket):
            bucket: dict[str, object] = {**place, "versioning": settings.versioning}
            if settings.kms_key is not None:
                bucket["kmsKey"] = settings.kms_key
            if args.bucket is not None:
                bucket["handedOver"] = True
            depends_on.append(_Bucket(BucketProvider(), name, bucket, pulumi.ResourceOptions(parent=self)))
        release = _Release(
            ReleaseProvider(),
            name,
            {
                **place,
                "prefix": settings.prefix,
                "digest": plan.digest,
                "models": plan.models,
                "source": settings.source,
                "createBucket": settings.create_bucket if args.bucket is None else "adopt" if settings.adopt_bucket else "cloud",
                "owner": owner,
                "url": url,
                "mode": settings.mode,
                "keep": settings.keep,
                "release": settings.release,
                "verify": settings.verify,
                # Where progress is shown. As a future: an output would make a child depend on its parent.
                "display": self._urn_of_child(_RELEASE_TYPE, name),
                # Told by the provider.
                "name": None,
                "previous": None,
            },
            pulumi.ResourceOptions(parent=self, depends_on=depends_on),
        )
        digest = release.digest
        self.handle = RepositoryHandle(
            url=release.url,
            urls={}
            if stable
            else {model: release.url.apply(_Below(f"models/{tree_name(model, of)}")) for model, of in plan.models.items()},
            # Pods of a stable place are not replaced when what lies there changes.
            digest=digest.apply(lambda _: "") if stable else digest,
            models=tuple(plan.models),
            sizes=plan.sizes,
            mode=settings.mode,
            region=settings.region,
            credentials=credentials,
            key_file=key_file,
            needs=args.needs,
        )
        self.release, self.previous = release.name, release.previous
        self.register_outputs({"url": release.url, "digest": digest, "release": release.name})

    async def _urn_of_child(self, kind: str, name: str) -> str:
        urn = await self.urn.future()
        return f"{str(urn).rsplit('::', 1)[0]}${kind}::{name}"


@dataclass(frozen=True)
class _Below:
    """The address of something below an address."""

    path: str

    def __call__(self, url: str) -> str:
        return f"{url}/{self.path}"


def place_of(settings: RepositorySettings) -> dict[str, str]:
    """Properties that say where the bucket is, for `stores.open_store`."""
    place = {"store": settings.store, "bucket": settings.bucket, "region": settings.region}
    optional = {"endpoint": settings.endpoint, "project": settings.project, "location": settings.location}
    return {**place, **{name: value for name, value in optional.items() if value is not None}}


def past_plan(settings: RepositorySettings) -> Plan:
    """The release that ``settings.release`` names, as it lies in the bucket. Sends nothing.

    Raises:
        FleetError: When there is none, or several begin with these digits, or the store fails.
    """
    wanted = settings.release or ""
    releases = Releases(open_store(place_of(settings)), settings.prefix, "")
    found = patiently(releases.manifests, SHORT_PAUSES_S)
    matching = [manifest for manifest in found if manifest.digest.startswith(wanted) or manifest.name == wanted]
    if len(matching) != 1:
        there = ", ".join(f"{manifest.name} ({manifest.digest[:12]})" for manifest in (matching or found)[:10])
        what = "is not in the bucket" if not matching else f"means {len(matching)} releases"
        raise FleetError(
            f"triton-fleet:repository.release ({wanted}) {what}: there is nothing to roll back to, nothing was changed. "
            f"Name one of those below {releases.store.url(settings.prefix)}: {there or 'none'}."
        )
    sums = patiently(lambda: releases.store.get_bytes(releases.sums_key(matching[0].digest)), SHORT_PAUSES_S)
    files = parse_sums(sums or b"")
    plan = plan_of(files)
    if plan.digest != matching[0].digest:
        raise FleetError(
            f"triton-fleet:repository.release ({wanted}) is damaged: its list of files is not what was published, nothing was changed. "
            "Name another release, or leave the key out."
        )
    return plan


def past_needs(settings: RepositorySettings, plan: Plan) -> dict[str, tuple[str, ...]]:
    """`components.repository.needs.needs` of a release in the bucket. Raises FleetError when the store fails."""
    releases = Releases(open_store(place_of(settings)), settings.prefix, "")
    paths = {file.path for file in plan.files}
    configs = [model for model in plan.models if f"{model}/config.pbtxt" in paths]

    def fetch(model: str) -> bytes:
        key = f"{releases.tree_root(tree_name(model, plan.models[model]))}{model}/config.pbtxt"
        return releases.store.get_bytes(key) or b""

    with tempfile.TemporaryDirectory(prefix="triton-fleet-") as folder:
        for model, content in zip(configs, patiently(lambda: in_parallel(fetch, configs), SHORT_PAUSES_S), strict=True):
            path = Path(folder) / model / "config.pbtxt"
            path.parent.mkdir()
            path.write_bytes(content)
        return needs(Path(folder), plan.models)


def check_environment(settings: RepositorySettings, environ: Mapping[str, str]) -> None:
    """See whether the settings and the environment that Pulumi runs in go together, before anything is declared.

    Raises:
        FleetError: When pods could not find the store, or when the keys that Triton is to get are not to be found.
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
    """Where releases lie, in the form that Triton's --model-repository takes and as seen from a pod.

    Raises:
        FleetError: When the only address known of the store is loopback of the machine that runs Pulumi.
    """
    path = f"{settings.bucket}/{settings.prefix}"
    if settings.store == "gcs":
        return f"gs://{path}"
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
