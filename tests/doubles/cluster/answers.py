"""Answers for webhooks and aggregated APIs of the tests' cluster, whose pods are kwok's and answer nothing.

Run inside the node's network as ``python -m tests.doubles.cluster.answers KUBECONFIG SCRATCH``. It listens on exactly the addresses of the
pods that are ready behind a Service that a webhook or an APIService names, and stops when they go: whoever calls a webhook whose pods are
not there is refused, as in any cluster. What it says:

- to an admission review: allowed, unchanged. Whether the real webhook would agree is not tested here.
- as ``custom.metrics.k8s.io``: the API is there; every metric of an object is 0, and no pod has any.
- as ``external.metrics.k8s.io``: the API is there, and no metric has a value.

It is an authority of its own and writes it into webhooks that name none, as istiod and others do for themselves.
"""

from __future__ import annotations

import base64
import datetime as dt
import fcntl
import json
import socket
import ssl
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from local.platform import config as settings
from local.platform.network import _SIOCSIFADDR, _SIOCSIFNETMASK, _with_address
from local.plugins.kubernetes import kubeconfig
from local.plugins.kubernetes.client import Client
from local.plugins.kubernetes.errors import ApiError, NoSuchKind, Unreachable
from local.plugins.kubernetes.naming import Kind
from tests.doubles.cluster.changes import Changes

WEBHOOKS: Final = tuple(
    Kind("admissionregistration.k8s.io", "v1", kind) for kind in ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration")
)
API_SERVICE: Final = Kind("apiregistration.k8s.io", "v1", "APIService")
SERVICE: Final = Kind("", "v1", "Service")
SLICE: Final = Kind("discovery.k8s.io", "v1", "EndpointSlice")
METRICS: Final = "/apis/custom.metrics.k8s.io/v1beta1"
EXTERNAL: Final = "/apis/external.metrics.k8s.io/v1beta1"
_POLL_S: Final = 0.3
_NAMESPACES: Final = ("istio-system", "istio-ingress", "kube-system", "monitoring", "keda", "cert-manager", "default")

Address = tuple[str, int]


def review(request: dict[str, Any]) -> dict[str, Any]:
    """Answer an AdmissionReview."""
    return {
        "apiVersion": request.get("apiVersion", "admission.k8s.io/v1"),
        "kind": "AdmissionReview",
        "response": {"uid": request["request"]["uid"], "allowed": True},
    }


def metrics(path: str) -> dict[str, Any] | None:
    """Answer a GET of the custom or the external metrics API; None: there is no such thing."""
    path = path.partition("?")[0].rstrip("/")
    if path in {METRICS, EXTERNAL}:
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": path.removeprefix("/apis/"), "resources": []}
    if path.startswith(f"{EXTERNAL}/"):
        return {"kind": "ExternalMetricValueList", "apiVersion": EXTERNAL.removeprefix("/apis/"), "metadata": {}, "items": []}
    if not path.startswith(f"{METRICS}/"):
        return None
    parts = path.removeprefix(f"{METRICS}/").split("/")
    items = []
    if len(parts) == 5 and parts[3] != "*":  # namespaces/NAMESPACE/RESOURCE/NAME/METRIC
        described = {"kind": parts[2].removesuffix("s").capitalize(), "namespace": parts[1], "name": parts[3]}
        now = dt.datetime.now(tz=dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        items = [{"describedObject": described, "metricName": parts[4], "timestamp": now, "value": "0"}]
    return {"kind": "MetricValueList", "apiVersion": METRICS.removeprefix("/apis/"), "metadata": {}, "items": items}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        found = metrics(self.path)
        if found is None and self.path.partition("?")[0] in {"/readyz", "/healthz", "/livez"}:
            found = {}
        self._say(404 if found is None else 200, found or {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        try:
            self._say(200, review(json.loads(body)))
        except (KeyError, ValueError, TypeError):
            self._say(400, {})

    def _say(self, status: int, content: dict[str, Any]) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class' name
        """Say nothing: the API server's log has every call that failed."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    context: ssl.SSLContext

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        connection.settimeout(10)
        # The handshake is the handler's: one that hangs must not keep others waiting.
        return self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that breaks off is no error of ours."""


def certificates(folder: Path) -> tuple[ssl.SSLContext, bytes]:
    """A server's context with a certificate for the Services of the known namespaces, and its authority (PEM)."""
    now = dt.datetime.now(tz=dt.UTC)

    def issue(name: str, key: ec.EllipticCurvePrivateKey, issuer: str, signer: ec.EllipticCurvePrivateKey, *, ca: bool) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=7))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if not ca:
            names = [x509.DNSName(f"*.{space}.svc") for space in _NAMESPACES]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(signer, hashes.SHA256())

    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = issue("answers-authority", authority_key, "answers-authority", authority_key, ca=True)
    leaf = issue("answers", key, "answers-authority", authority_key, ca=False)
    encoding = serialization.Encoding.PEM
    secret = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = folder / "answers.pem"
    file.touch(mode=0o600)
    file.write_bytes(leaf.public_bytes(encoding) + secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context, authority.public_bytes(encoding)


class Answers:
    """Listens where something is asked for."""

    def __init__(self, api: Client, context: ssl.SSLContext, authority: bytes) -> None:
        self._api = api
        self._context = context
        self._bundle = base64.b64encode(authority).decode("ascii")
        self._servers: dict[Address, _Server] = {}

    def look(self) -> None:
        """Open and close what changed since the last look."""
        wanted = {address for service in self._asked_for() for address in self._ready(*service)}
        for address in self._servers.keys() - wanted:
            server = self._servers.pop(address)
            threading.Thread(target=self._close, args=[server], daemon=True).start()
        for address in wanted - self._servers.keys():
            server = _Server(address, _Handler)
            server.context = self._context
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
            self._servers[address] = server
            print(f"answers on {address[0]}:{address[1]}", flush=True)

    @staticmethod
    def _close(server: _Server) -> None:
        server.shutdown()
        server.server_close()

    def _asked_for(self) -> set[tuple[str, str, int]]:
        """Namespace, name and port of Services that webhooks and APIServices name."""
        found = set()
        for item in self._api.list(API_SERVICE):
            service = (item.get("spec") or {}).get("service")
            if service:
                found.add((service["namespace"], service["name"], int(service.get("port", 443))))
        for kind in WEBHOOKS:
            for item in self._api.list(kind):
                operations = []
                for index, hook in enumerate(item.get("webhooks") or []):
                    service = hook["clientConfig"].get("service")
                    if service is None:
                        continue
                    found.add((service["namespace"], service["name"], int(service.get("port", 443))))
                    if not hook["clientConfig"].get("caBundle"):
                        operations.append({"op": "add", "path": f"/webhooks/{index}/clientConfig/caBundle", "value": self._bundle})
                if operations:
                    self._api.patch(kind, "", item["metadata"]["name"], operations, manager="answers")
        return found

    def _ready(self, namespace: str, name: str, port: int) -> list[Address]:
        try:
            service = self._api.get(SERVICE, namespace, name)
        except ApiError as error:
            if error.not_found:
                return []
            raise
        named = next((item.get("name") or "" for item in service["spec"].get("ports") or [] if item["port"] == port), None)
        if named is None:
            return []
        return [
            (address, int(item["port"]))
            for part in self._api.list(SLICE, namespace, labels=f"kubernetes.io/service-name={name}")
            for endpoint in part.get("endpoints") or []
            if (endpoint.get("conditions") or {}).get("ready")
            for item in part.get("ports") or []
            if (item.get("name") or "") == named
            for address in endpoint["addresses"]
        ]


def make_pods_local() -> None:
    """Every address of the pods' range is this network's own: the loopback device takes its whole range."""
    network, _, bits = settings.POD_CIDR.partition("/")
    address = str(network).rpartition(".")[0] + ".1"
    mask = socket.inet_ntoa((0xFFFFFFFF << (32 - int(bits)) & 0xFFFFFFFF).to_bytes(4, "big"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFADDR, _with_address("lo:pods", address))
        fcntl.ioctl(control, _SIOCSIFNETMASK, _with_address("lo:pods", mask))


def main(arguments: list[str]) -> None:
    """Entry point: never returns."""
    make_pods_local()
    context, authority = certificates(Path(arguments[1]))
    api = Client(kubeconfig.access(kubeconfig.read(arguments[0])))
    answers = Answers(api, context, authority)
    changes = Changes(api, [(kind, "") for kind in (*WEBHOOKS, API_SERVICE, SERVICE, SLICE)])
    changes.start()
    while True:
        time.sleep(_POLL_S)
        if not changes.take():
            continue
        try:
            answers.look()
        except (ApiError, OSError, Unreachable, NoSuchKind) as error:
            print(f"{type(error).__name__}: {error}", flush=True)
            changes.again()


if __name__ == "__main__":
    main(sys.argv[1:])
