"""Where a bucket is asked for, the client that asks, and its failures in words. boto3 is imported when a client is made, never before."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from components.base.errors import FleetError
from components.repository.objectstore import PARALLEL, StoreUnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mypy_boto3_s3.client import S3Client

_ATTEMPTS: Final = 6
"""Of each request, by botocore, with backoff and jitter, within about ten seconds: for what passes at once, throttling above all.
`patiently` waits for what takes longer."""
_CONNECT_S: Final = 5
_READ_S: Final = 60
KEY: Final = "triton-fleet:repository"
NOT_THERE: Final = frozenset({"NotImplemented", "MethodNotAllowed", "NotSupported", "501", "405"})
"""What stores answer to requests that they have not."""


@dataclass(frozen=True, kw_only=True)
class Location:
    """A bucket, and where it is asked for."""

    bucket: str
    region: str
    endpoint: str | None
    """URL of an S3-compatible store; None: AWS, or what AWS_ENDPOINT_URL_S3 says."""

    def describe(self) -> str:
        """Where requests go, for messages."""
        return self.endpoint or environment_endpoint(os.environ) or f"AWS in {self.region}"


def environment_endpoint(environ: Mapping[str, str]) -> str | None:
    """Endpoint that boto3 takes from the environment."""
    return environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL") or None


def connect(location: Location) -> S3Client:
    """Make a client. It is safe to use from several threads."""
    import boto3  # noqa: PLC0415  # heavy, and only wanted by the provider process
    from botocore.config import Config  # noqa: PLC0415

    custom = location.endpoint or environment_endpoint(os.environ)
    config = Config(
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        connect_timeout=_CONNECT_S,
        read_timeout=_READ_S,
        max_pool_connections=2 * PARALLEL,
        # Checksums are given with each request here, and not every store knows those that boto3 would add.
        request_checksum_calculation="when_required",
        # A store of one's own seldom has a DNS name a bucket, which the virtual-host style needs.
        s3={"addressing_style": "path" if custom else "auto"},
    )
    with explained(location):
        return boto3.session.Session().client("s3", region_name=location.region, endpoint_url=location.endpoint, config=config)


def found(request: Any) -> Any:
    """Answer of ``request``; None when what it asks for is not there. A bucket that is missing is something else."""
    from botocore.exceptions import ClientError  # noqa: PLC0415

    try:
        return request()
    except ClientError as error:
        if status(error) == 404 and code(error) != "NoSuchBucket":  # noqa: PLR2004  # HTTP's own number
            return None
        raise


def status(error: Exception) -> int:
    """HTTP status of a botocore ClientError; 0 for anything else."""
    response = getattr(error, "response", None)
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)) if isinstance(response, dict) else 0


def code(error: Exception) -> str:
    """S3's error code of a botocore ClientError, such as ``NoSuchBucket``; empty for anything else."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


@contextmanager
def explained(location: Location) -> Iterator[None]:
    """Turn what boto3 raises inside the block into a FleetError with key, consequence and remedy."""
    from botocore import exceptions  # noqa: PLC0415

    try:
        yield
    except exceptions.ClientError as error:
        raise _client_error(error, location) from None
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError, exceptions.TokenRetrievalError) as error:
        raise FleetError(
            f"{KEY}: no usable AWS credentials where Pulumi runs ({error}): bucket {location.bucket} can't be reached. "
            'Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or sign in with `aws sso login`; `eval "$(make -s env)"` for '
            "the embedded store."
        ) from None
    except (exceptions.HTTPClientError, exceptions.EndpointConnectionError, exceptions.ConnectionError) as error:
        raise StoreUnreachableError(_unreachable(location, str(error))) from None
    except exceptions.BotoCoreError as error:
        raise FleetError(_other(error, location)) from None


def no_such_bucket(location: Location) -> str:
    """What to say when the bucket is not there."""
    return (
        f"{KEY}.bucket ({location.bucket}) does not exist at {location.describe()}: there is nowhere to put the models, nothing was "
        f"uploaded. "
        "Create it, correct the name or set createBucket: true."
    )


def _client_error(error: Exception, location: Location) -> FleetError:
    name, number = code(error), status(error)
    if name == "NoSuchBucket":
        return FleetError(no_such_bucket(location))
    if number >= 500 or name in {"SlowDown", "Throttling", "RequestTimeout"}:  # noqa: PLR2004  # HTTP: the server's own failures
        return StoreUnreachableError(_unreachable(location, str(error)))
    if name in {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}:
        return FleetError(
            f"{KEY}: {location.describe()} does not know the credentials that Pulumi runs with ({name}): nothing was uploaded. "
            "Renew them (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, or the profile)."
        )
    if number in {301, 307, 400} and name in {
        "PermanentRedirect",
        "301",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
    }:
        return FleetError(
            f"{KEY}.region ({location.region}) is not the region of bucket {location.bucket}: S3 sends requests away. "
            "Write the bucket's own region."
        )
    if number == 403:  # noqa: PLR2004  # HTTP's own number
        return FleetError(
            f"{KEY}.bucket ({location.bucket}) can't be used with the credentials that Pulumi runs with ({name}): nothing was uploaded. "
            "Allow them s3:ListBucket on the bucket, and s3:GetObject, s3:PutObject and s3:DeleteObject below the prefix; "
            "or it is somebody else's bucket: choose another name."
        )
    return FleetError(_other(error, location))


def _unreachable(location: Location, reason: str) -> str:
    return (
        f"{KEY}: the object store at {location.describe()} does not answer ({reason}): what had arrived in bucket {location.bucket} is "
        f"kept. "
        "Start the store (make up) or fix the endpoint, then run again: only what is missing is sent."
    )


def _other(error: Exception, location: Location) -> str:
    return (
        f"{KEY}: the object store at {location.describe()} refused a request on bucket {location.bucket} ({error}): what had arrived "
        f"is kept. "
        "Mend what it names and run again: only what is missing is sent."
    )


def corrupt(location: Location, key: str) -> str:
    """What to say when an object is not what was sent."""
    return (
        f"{KEY}: {key} did not arrive in bucket {location.bucket} at {location.describe()} as it was sent: nothing was published. "
        "Run again; if it happens again, look for a proxy that changes what passes, or a failing disk."
    )
