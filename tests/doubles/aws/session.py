"""How rows ask AWS: clients that lead to the cloud on this machine, and the errors that come back."""

from __future__ import annotations

import threading
from typing import Any, Final

import botocore.loaders
import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError, ParamValidationError

from tests.doubles.aws import FAULT_HEADER, PACE_HEADER
from tests.doubles.provider import Call, DoubleError, Props

_LOADER: Final = botocore.loaders.create_loader()
"""Keeps what it has read: descriptions of services are megabytes of JSON."""


class Session:
    """Clients of one region, and what a row's functions need."""

    def __init__(self, region: str, endpoint: str, pace: float) -> None:
        self.region = region
        self._endpoint = endpoint
        self._pace = pace
        self._session = botocore.session.Session()
        self._session.register_component("data_loader", _LOADER)
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._fault = threading.local()

    def client(self, service: str) -> Any:
        with self._lock:
            if service not in self._clients:
                client = self._session.create_client(
                    service,
                    region_name=self.region,
                    endpoint_url=self._endpoint,
                    aws_access_key_id="test",
                    aws_secret_access_key="test",
                    config=Config(retries={"max_attempts": 1}, max_pool_connections=128),
                )
                client.meta.events.register("before-call.eks", self._headers)
                self._clients[service] = client
            return self._clients[service]

    def _headers(self, params: dict[str, Any], **_: Any) -> None:
        params["headers"][PACE_HEADER] = str(self._pace)
        fault = getattr(self._fault, "text", "")
        if fault:
            params["headers"][FAULT_HEADER] = fault

    def with_fault(self, text: str) -> None:
        """What the next calls of this thread are told to do wrong."""
        self._fault.text = text

    def shape(self, service: str, call: str) -> Any:
        client = self.client(service)
        return client.meta.service_model.operation_model(client.meta.method_to_api_mapping[call]).input_shape

    def call(self, service: str, call: str, **parameters: Any) -> Props:
        """Ask AWS. Raises ClientError, and DoubleError where botocore refuses the parameters."""
        try:
            answer: Props = getattr(self.client(service), call)(**parameters)
        except ParamValidationError as error:
            raise DoubleError(f"{service}.{call}: {error}") from error
        answer.pop("ResponseMetadata", None)
        return answer


def code_of(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def refused(call: Call, error: ClientError) -> DoubleError:
    """In the provider's words."""
    return DoubleError(f"{call.operation} of {call.token} ({call.name}): {code_of(error)}: {error.response['Error'].get('Message', '')}")
