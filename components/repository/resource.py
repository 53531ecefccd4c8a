"""The model repository: a release of a folder of models in an object store and, if no Pulumi cloud provider creates it, the bucket.

Digest and URL are computed before the upload, so that a preview shows which pods a change replaces. As outputs they resolve once the
release is complete in the bucket. The identity that reads the bucket belongs to the cluster.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import pulumi
import pulumi.dynamic

from components.base.errors import FleetError
from components.base.handles import RepositoryHandle
from components.base.naming import type_token
from components.repository.release.layout import tree_name
from components.repository.settings import is_loopback
from components.repository.store.objects import environment_endpoint
from components.repository.store.select import place_of
from components.repository.sync import BucketProvider, ReleaseProvider

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from components.repository.scan.plan import Plan
    from components.repository.settings import RepositorySettings

_RELEASE_TYPE: Final = "pulumi-python:dynamic/repository:Release"
_KEY_FIELDS: Final = ("client_email", "private_key", "token_uri")
"""Fields of a service account's key that a client needs to get a token."""
_NOT_AN_OBJECT: Final = "is not a JSON object: Triton could not read it. Use the file that Google created."
_DEFAULT_PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443}


@dataclass(frozen=True, kw_only=True)
class ModelRepositoryArgs:
    """Arguments of `ModelRepository`."""

    settings: RepositorySettings
    plan: Plan
    """Result of `scan.folder.scan` or, for a rollback, of `rollback.published_plan`."""
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Result of `scan.needs.needs`."""
    subsets: Sequence[tuple[str, ...]] = ()
    """Models of each deployment that copies them itself: the release gets a list of their files."""
    bucket: pulumi.Resource | None = None
    """The bucket, if a Pulumi cloud provider creates it."""


class _Bucket(pulumi.dynamic.Resource, module="repository", name="Bucket"):
    """A bucket that no Pulumi cloud provider creates."""


class _PublishedRelease(pulumi.dynamic.Resource, module="repository", name="Release"):
    """A release that is complete in its bucket."""

    digest: pulumi.Output[str]
    url: pulumi.Output[str]
    name: pulumi.Output[str | None]
    previous: pulumi.Output[list[str] | None]


class ModelRepository(pulumi.ComponentResource):
    """The release that Triton reads. Raises the FleetErrors of `check_environment`."""

    handle: RepositoryHandle
    release: pulumi.Output[str | None]
    """Name of the served release."""
    previous: pulumi.Output[list[str] | None]
    """Names of the releases that ``repository.release`` can roll back to, newest first."""

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
                **({"subsets": [list(models) for models in args.subsets]} if args.subsets else {}),
                # The resource whose status line shows progress. A future, because an output would make the child depend on its parent.
                "display": self._urn_of_child(_RELEASE_TYPE, name),
                # Set by the provider.
                "name": None,
                "previous": None,
            },
            pulumi.ResourceOptions(parent=self, depends_on=depends_on),
        )
        trees = {model: f"models/{tree_name(model, digest)}" for model, digest in plan.models.items()}
        self.handle = RepositoryHandle(
            url=release.url,
            urls={} if stable else {model: pulumi.Output.concat(release.url, "/", tree) for model, tree in trees.items()},
            # With a stable prefix, changed content does not replace pods.
            digest=release.digest.apply(lambda _: "") if stable else release.digest,
            digest_of=lambda models: release.digest.apply(lambda _: "" if stable else plan.subset(models).digest),
            models=tuple(plan.models),
            sizes=plan.sizes,
            mode=settings.mode,
            region=settings.signing_region,
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
    """Check the settings against the environment of the Pulumi program.

    Raises:
        FleetError: Pods can't reach the store, or the credentials for Triton are missing or invalid.
    """
    store_url(settings, environ)
    if settings.store == "s3" and settings.region is None and custom_endpoint(settings, environ) is None:
        raise FleetError(
            f"triton-fleet:repository.region is missing: only AWS knows the region of bucket {settings.bucket}. Set it, such as eu-west-1."
        )
    read_key_file(settings)
    if settings.credentials == "environment":
        _find_keys(settings)


def custom_endpoint(settings: RepositorySettings, environ: Mapping[str, str]) -> str | None:
    """Return the URL of the S3-compatible store or emulator; None for AWS and Google Cloud."""
    if settings.store == "gcs":
        return environ.get("STORAGE_EMULATOR_HOST") or None
    return settings.cluster_endpoint or settings.endpoint or environment_endpoint(environ, settings.profile)


def store_url(settings: RepositorySettings, environ: Mapping[str, str]) -> str:
    """Return the URL of the releases for Triton's --model-repository, as pods reach it.

    Raises:
        FleetError: The only known address of the store is a loopback address of the machine that runs Pulumi.
    """
    path = f"{settings.bucket}/{settings.prefix}"
    if settings.store == "gcs":
        return f"gs://{path}"
    endpoint = custom_endpoint(settings, environ)
    if endpoint is None:
        return f"s3://{path}"
    if settings.cluster_endpoint is None and settings.endpoint is None and is_loopback(endpoint):
        raise FleetError(
            f"triton-fleet:repository.clusterEndpoint is missing: uploads go to {endpoint} (AWS_ENDPOINT_URL_S3, or the "
            "AWS profile's endpoint_url), and pods would look for the store inside themselves. Set it to the store's address as pods "
            "reach it."
        )
    address = urlsplit(endpoint)
    port = address.port or _DEFAULT_PORTS[address.scheme]  # Triton needs the port of an S3-compatible store
    host = f"[{address.hostname}]" if ":" in (address.hostname or "") else address.hostname
    return f"s3://{address.scheme}://{host}:{port}/{path}"


def read_key_file(settings: RepositorySettings) -> str | None:
    """Return the Google service account's key file as compact JSON; None without ``credentials: keyFile``.

    Raises:
        FleetError: The file can't be read, or contains no key that Triton can use.
    """
    if settings.credentials != "keyFile" or settings.key_file is None:
        return None
    key: object = None
    try:
        # Pulumi runs programs in the folder of Pulumi.yaml.
        key = json.loads(Path(settings.key_file).expanduser().read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        problem = (
            f"can't be read ({getattr(error, 'strerror', None) or 'it is not text'}): Triton would read the bucket without credentials. "
            "Correct the path, or use Workload Identity (credentials: serviceAccount)."
        )
    except ValueError:
        problem = _NOT_AN_OBJECT
    else:
        problem = _key_problem(key)
    if problem:
        raise FleetError(f"triton-fleet:repository.keyFile ({settings.key_file}) {problem}")
    return json.dumps(key, sort_keys=True)


def _key_problem(key: object) -> str:
    if not isinstance(key, dict):
        return _NOT_AN_OBJECT
    if key.get("type") != "service_account":
        return (
            f"is of type {key.get('type') or 'none'}: Triton needs a service account's key and would "
            "silently read without credentials. Create one with `gcloud iam service-accounts keys create`."
        )
    missing = [name for name in _KEY_FIELDS if not key.get(name)]
    return f"has no {', '.join(missing)}: Triton could get no token. Use the file that Google created." if missing else ""


def _find_keys(settings: RepositorySettings) -> dict[str, str]:
    """Return the keys of the AWS default chain as environment variables for Triton. Raises FleetError if the chain finds none."""
    import boto3  # noqa: PLC0415  # loaded only by stacks with credentials: environment

    found = boto3.session.Session(profile_name=settings.profile).get_credentials()
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
    variables = _find_keys(settings)
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
