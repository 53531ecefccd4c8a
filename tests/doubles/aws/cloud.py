"""Starts and asks the cloud that the `aws` double stands on, from a test or a benchmark."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from types import TracebackType

REGION: Final = "eu-west-1"


class Cloud:
    """A server process; its state lives as long as it does, through any number of `pulumi` commands."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self.endpoint = ""
        self._clients: dict[tuple[str, str], Any] = {}

    def start(self) -> Self:
        """Start the server and wait until it listens. Raises RuntimeError when it ends instead."""
        server = Path(__file__).resolve().parent / "server.py"
        self._process = subprocess.Popen([sys.executable, "-P", str(server)], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        port = self._process.stdout.readline().strip()
        if not port:
            self.stop()
            raise RuntimeError("the cloud's server ended before it listened")
        self.endpoint = f"http://127.0.0.1:{port}"
        return self

    def stop(self) -> None:
        """End the server."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def reset(self) -> None:
        """Forget everything that was made."""
        with urllib.request.urlopen(urllib.request.Request(f"{self.endpoint}/moto-api/reset", method="POST")):  # noqa: S310  # loopback
            pass

    def environment(self) -> dict[str, str]:
        """What makes every client of AWS, ours and others, ask this cloud and no other."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }

    def client(self, service: str, region: str = REGION) -> Any:
        """A client of boto3, for what a test wants to see or do past Pulumi."""
        import boto3  # noqa: PLC0415  # takes a while, and most callers only start the server

        if (service, region) in self._clients:
            return self._clients[service, region]  # a client takes a second to make, and all threads may use one
        make: Any = boto3.client
        self._clients[service, region] = made = make(
            service, region_name=region, endpoint_url=self.endpoint, aws_access_key_id="test", aws_secret_access_key="test"
        )
        return made
