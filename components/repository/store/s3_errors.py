"""The location of an S3 bucket, and error messages for failed requests."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from components.base.errors import FleetError
from components.repository.store.objects import StoreUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

KEY: Final = "triton-fleet:repository"
UNSUPPORTED: Final = frozenset({"NotImplemented", "MethodNotAllowed", "NotSupported", "501", "405"})
"""Error codes of S3-compatible stores for a request that they don't implement."""

_CODE: Final = re.compile(r"<Code>([^<]+)</Code>")
_STATUS: Final = re.compile(r"status code: (\d{3})")
_CREDENTIALS: Final = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"})
_WRONG_REGION: Final = frozenset({"PermanentRedirect", "301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"})
_THROTTLED: Final = frozenset({"SlowDown", "Throttling", "RequestTimeout"})


@dataclass(frozen=True, kw_only=True)
class Location:
    """A bucket and the endpoint that serves it."""

    bucket: str
    region: str
    endpoint: str | None
    """URL of an S3-compatible store; None: AWS, or AWS_ENDPOINT_URL_S3 when set."""

    @property
    def custom_endpoint(self) -> str | None:
        """URL of the S3-compatible store; None for AWS."""
        return self.endpoint or environment_endpoint(os.environ)

    def describe(self) -> str:
        """Where requests go, for messages."""
        return self.custom_endpoint or f"AWS in {self.region}"


def environment_endpoint(environ: Mapping[str, str]) -> str | None:
    """The endpoint that the AWS SDKs read from the environment."""
    return environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL") or None


def found(request: Callable[[], Any]) -> Any:
    """Return the response of a boto3 request, or None if the object or setting does not exist. A missing bucket raises."""
    from botocore.exceptions import ClientError  # noqa: PLC0415

    try:
        return request()
    except ClientError as error:
        code, status = identity(error)
        if status == 404 and code != "NoSuchBucket":  # noqa: PLR2004  # HTTP: not found
            return None
        raise


def identity(error: Exception) -> tuple[str, int]:
    """S3's error code, such as ``NoSuchBucket``, and the HTTP status of what boto3 or obstore raised; empty and 0 where it has none."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return str(response.get("Error", {}).get("Code", "")), int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    # obstore has no other place for them than its text: a request that failed, and the store's answer as XML.
    text = str(error)
    code, status = _CODE.search(text), _STATUS.search(text)
    return code[1] if code else "", int(status[1]) if status else 0


@contextmanager
def explained(location: Location) -> Iterator[None]:
    """Turn what boto3 and obstore raise inside the block into a FleetError with key, consequence and remedy."""
    from botocore import exceptions  # noqa: PLC0415
    from obstore.exceptions import BaseError  # noqa: PLC0415

    try:
        yield
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError, exceptions.TokenRetrievalError) as error:
        raise no_credentials(location, error) from None
    except (exceptions.HTTPClientError, exceptions.ConnectionError) as error:
        raise _unreachable(location, error) from None
    except (exceptions.ClientError, exceptions.BotoCoreError, BaseError, FileNotFoundError) as error:
        raise _refused(location, error) from None


def no_credentials(location: Location, reason: object) -> FleetError:
    """Return the error for credentials that the AWS default chain can't find or renew."""
    return FleetError(
        f"{KEY}: no usable AWS credentials where Pulumi runs ({reason}): bucket {location.bucket} can't be reached. "
        'Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or sign in with `aws sso login`; `eval "$(make -s env)"` for '
        "the embedded store."
    )


def no_such_bucket(location: Location) -> str:
    """Return the message for a bucket that does not exist."""
    return (
        f"{KEY}.bucket ({location.bucket}) does not exist at {location.describe()}: nothing was uploaded. "
        "Create it, correct the name or set createBucket: true."
    )


def _refused(location: Location, error: Exception) -> FleetError:
    code, status = identity(error)
    if code == "NoSuchBucket":
        return FleetError(no_such_bucket(location))
    if status >= 500 or code in _THROTTLED or (not status and not hasattr(error, "response")):  # noqa: PLR2004  # HTTP: server errors
        return _unreachable(location, error)
    if code in _CREDENTIALS:
        return FleetError(
            f"{KEY}: {location.describe()} rejects the credentials that Pulumi uses ({code}): nothing was uploaded. "
            "Renew them (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, or the profile)."
        )
    if code in _WRONG_REGION or status == 301:  # noqa: PLR2004  # HTTP: moved
        return FleetError(
            f"{KEY}.region ({location.region}) is not the region of bucket {location.bucket}: S3 redirects each request. "
            "Set it to the bucket's region."
        )
    if status == 403:  # noqa: PLR2004  # HTTP: forbidden
        return FleetError(
            f"{KEY}.bucket ({location.bucket}) can't be accessed with the credentials that Pulumi uses ({code or status}): nothing was "
            "uploaded. Allow them s3:ListBucket on the bucket, and s3:GetObject, s3:PutObject and s3:DeleteObject below the prefix; "
            "if the bucket belongs to another account, choose another name."
        )
    return FleetError(
        f"{KEY}: the object store at {location.describe()} rejected a request for bucket {location.bucket} ({_first_line(error)}): "
        "uploaded files are kept. Fix the reported problem and run again: only what is missing is sent."
    )


def _unreachable(location: Location, error: Exception) -> StoreUnreachableError:
    return StoreUnreachableError(
        f"{KEY}: the object store at {location.describe()} does not answer ({_first_line(error)}): what was uploaded to bucket "
        f"{location.bucket} is kept. Start the store (make up) or fix the endpoint, then run again: only what is missing is sent."
    )


def _first_line(error: Exception) -> str:
    """Return the first paragraph. obstore appends debug output after it."""
    return " ".join(str(error).partition("\n\nDebug source")[0].split())[:400]
