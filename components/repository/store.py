"""Talking to an S3 store: the client, and its failures in words. boto3 is imported when a client is made, never before."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from components.errors import FleetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mypy_boto3_s3.client import S3Client

R = TypeVar("R")

PARALLEL: Final = 16
"""Requests in flight at once. Small files wait for round trips, not for bandwidth; 16 keeps a 100 ms store at 160 files a second."""

_ATTEMPTS: Final = 4
"""Of each request, by botocore, within about a second: for what passes at once. `patiently` waits for what takes longer."""

PAUSES_S: Final = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Between attempts at a whole transfer: a store that restarts within a minute goes unnoticed, one that stays away is told after it."""

SHORT_PAUSES_S: Final = (1.0, 2.0, 4.0)
"""The same for a question in a preview, where somebody sits and waits."""

_CONNECT_S: Final = 5
_READ_S: Final = 60
_KEY: Final = "triton-fleet:repository"


class StoreUnreachableError(FleetError):
    """The store does not answer, or answers that it can't at the moment."""


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
        max_pool_connections=PARALLEL,
        # A store of one's own seldom has a DNS name a bucket, which the virtual-host style needs.
        s3={"addressing_style": "path" if custom else "auto"},
    )
    with explained(location):
        return boto3.session.Session().client("s3", region_name=location.region, endpoint_url=location.endpoint, config=config)


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
    from boto3.exceptions import S3UploadFailedError  # noqa: PLC0415
    from botocore import exceptions  # noqa: PLC0415

    try:
        yield
    except S3UploadFailedError as error:
        # boto3 wraps what happened and drops its type; its cause is the real one.
        cause = error.__context__ if isinstance(error.__context__, exceptions.ClientError) else None
        raise _client_error(cause, location) if cause is not None else FleetError(_other(error, location)) from None
    except exceptions.ClientError as error:
        raise _client_error(error, location) from None
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError, exceptions.TokenRetrievalError) as error:
        raise FleetError(
            f"{_KEY}: no usable AWS credentials where Pulumi runs ({error}): bucket {location.bucket} can't be reached. "
            'Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or sign in with `aws sso login`; `eval "$(make -s env)"` for '
            "the embedded store."
        ) from None
    except (exceptions.HTTPClientError, exceptions.EndpointConnectionError, exceptions.ConnectionError) as error:
        raise StoreUnreachableError(_unreachable(location, str(error))) from None
    except exceptions.BotoCoreError as error:
        raise FleetError(_other(error, location)) from None


def patiently(work: Callable[[], R], pauses_s: Sequence[float] | None = None) -> R:
    """Result of ``work``, which is begun anew after each pause (seconds; None: PAUSES_S) while the store is unreachable.

    It must be safe to repeat.

    Raises:
        StoreUnreachableError: When it still is after the last pause.
    """
    for pause in PAUSES_S if pauses_s is None else pauses_s:
        try:
            return work()
        except StoreUnreachableError:
            time.sleep(pause)
    return work()


def no_such_bucket(location: Location) -> str:
    """What to say when the bucket is not there."""
    return (
        f"{_KEY}.bucket ({location.bucket}) does not exist at {location.describe()}: there is nowhere to put the models, nothing was "
        f"uploaded. "
        "Create it, correct the name or set createBucket: true."
    )


def _client_error(error: Exception, location: Location) -> FleetError:
    name, number = code(error), status(error)
    if name == "NoSuchBucket":
        return FleetError(no_such_bucket(location))
    if number >= 500:  # noqa: PLR2004  # HTTP: the server's own failures
        return StoreUnreachableError(_unreachable(location, str(error)))
    if name in {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}:
        return FleetError(
            f"{_KEY}: {location.describe()} does not know the credentials that Pulumi runs with ({name}): nothing was uploaded. "
            "Renew them (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, or the profile)."
        )
    if number in {301, 307, 400} and name in {
        "PermanentRedirect",
        "301",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
    }:
        return FleetError(
            f"{_KEY}.region ({location.region}) is not the region of bucket {location.bucket}: S3 sends requests away. "
            "Write the bucket's own region."
        )
    if number == 403:  # noqa: PLR2004  # HTTP's own number
        return FleetError(
            f"{_KEY}.bucket ({location.bucket}) can't be used with the credentials that Pulumi runs with ({name}): nothing was uploaded. "
            "Allow them s3:ListBucket on the bucket, and s3:GetObject, s3:PutObject and s3:DeleteObject below the prefix; "
            "or it is somebody else's bucket: choose another name."
        )
    return FleetError(_other(error, location))


def _unreachable(location: Location, reason: str) -> str:
    return (
        f"{_KEY}: the object store at {location.describe()} does not answer ({reason}): what had arrived in bucket {location.bucket} is "
        f"kept. "
        "Start the store (make up) or fix the endpoint, then run again: only what is missing is sent."
    )


def _other(error: Exception, location: Location) -> str:
    return (
        f"{_KEY}: the object store at {location.describe()} refused a request on bucket {location.bucket} ({error}): what had arrived "
        f"is kept. "
        "Mend what it names and run again: only what is missing is sent."
    )
