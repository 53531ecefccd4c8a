"""Error messages for failed requests to Google Cloud Storage."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from components.base.errors import FleetError
from components.repository.store.objects import StoreUnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY: Final = "triton-fleet:repository"


@dataclass(frozen=True, kw_only=True)
class Failures:
    """Creates the errors of one bucket."""

    bucket: str
    endpoint: str | None
    """URL of an emulator; None: Google."""

    def describe(self) -> str:
        """Where requests go, for messages."""
        return f"the emulator at {self.endpoint}" if self.endpoint else "Google Cloud Storage"

    def no_such_bucket(self) -> str:
        """Return the message for a bucket that does not exist."""
        return (
            f"{KEY}.bucket ({self.bucket}) does not exist at {self.describe()}: nothing was uploaded. "
            "Create it, correct the name or set createBucket: true."
        )

    def no_credentials(self, reason: object) -> FleetError:
        """Return the error for missing application default credentials."""
        return FleetError(
            f"{KEY}: no usable Google credentials where Pulumi runs ({reason}): bucket {self.bucket} can't be reached. "
            "Run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS; set project where the credentials name "
            "none."
        )

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Convert the client's exceptions to FleetErrors with key, consequence and remedy."""
        from google.api_core import exceptions  # noqa: PLC0415
        from google.auth.exceptions import GoogleAuthError, TransportError  # noqa: PLC0415
        from google.cloud.exceptions import GoogleCloudError  # noqa: PLC0415
        from google.cloud.storage.exceptions import DataCorruption, InvalidResponse  # noqa: PLC0415
        from requests.exceptions import RequestException  # noqa: PLC0415

        try:
            yield
        except exceptions.RetryError as error:
            raise self._unreachable(error.cause or error) from None
        except (exceptions.TooManyRequests, exceptions.ServerError, RequestException, ConnectionError, TransportError) as error:
            raise self._unreachable(error) from None
        except DataCorruption as error:
            raise StoreUnreachableError(
                f"{KEY}: an object in bucket {self.bucket} has a different checksum than the file ({error}): it was deleted or rejected. "
                "Run again; if it happens again, check proxies and memory."
            ) from None
        except InvalidResponse as error:
            raise self._refused(int(getattr(error.response, "status_code", 0)), error) from None
        except GoogleAuthError as error:
            raise self._unknown_credentials(error) from None
        except (exceptions.GoogleAPICallError, GoogleCloudError) as error:
            raise self._refused(int(error.code or 0), error) from None

    def _refused(self, status: int, error: Exception) -> FleetError:  # HTTP status codes
        text = " ".join(str(error).split())[:400]
        if status >= 500 or status in {408, 429}:  # noqa: PLR2004
            return self._unreachable(error)
        if status == 404:  # noqa: PLR2004
            return FleetError(self.no_such_bucket())
        if status == 401:  # noqa: PLR2004
            return self._unknown_credentials(text)
        if status == 403 and ("cloudkms" in text or "Cloud KMS" in text):  # noqa: PLR2004
            return FleetError(
                f"{KEY}.kmsKey can't be used by Cloud Storage ({text}): nothing can be written. Grant the project's storage service "
                "agent roles/cloudkms.cryptoKeyEncrypterDecrypter on the key, and use a key in the bucket's location."
            )
        if status == 403:  # noqa: PLR2004
            return FleetError(
                f"{KEY}.bucket ({self.bucket}) can't be accessed with the credentials that Pulumi uses ({text}): nothing was uploaded. "
                "Grant them roles/storage.objectAdmin on the bucket (roles/storage.admin with createBucket: true); "
                "if the bucket belongs to another project, choose another name."
            )
        return FleetError(
            f"{KEY}: {self.describe()} rejected a request for bucket {self.bucket} ({text}): uploaded files are kept. "
            "Fix the reported problem and run again: only what is missing is sent."
        )

    def _unknown_credentials(self, reason: object) -> FleetError:
        return FleetError(
            f"{KEY}: Google rejects the credentials that Pulumi uses ({reason}): nothing was uploaded. "
            "Renew them with `gcloud auth application-default login`, or fix GOOGLE_APPLICATION_CREDENTIALS."
        )

    def _unreachable(self, reason: object) -> StoreUnreachableError:
        return StoreUnreachableError(
            f"{KEY}: {self.describe()} does not answer ({' '.join(str(reason).split())[:300]}): what was uploaded to bucket {self.bucket} "
            "is kept. Fix the network (or STORAGE_EMULATOR_HOST), then run again: only what is missing is sent."
        )
