"""Finding the cluster as kubectl does, and the message about a cluster that is missing or does not answer."""

from __future__ import annotations

import base64
import http.server
import json
import ssl
import subprocess
import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from components.base.errors import FleetError
from components.existing import kubeconfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def config(
    server: str = "https://127.0.0.1:1", *, name: str = "here", user: dict[str, Any] | None = None, cluster: dict[str, Any] | None = None
) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "contexts": [{"name": name, "context": {"cluster": f"{name}-cluster", "user": f"{name}-user"}}],
        "clusters": [{"name": f"{name}-cluster", "cluster": {"server": server, **(cluster or {})}}],
        "users": [{"name": f"{name}-user", "user": user or {}}],
    }


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(content: object, name: str = "config") -> Path:
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
        return path

    return write


def test_the_stacks_own_path_comes_first(write: Callable[..., Path]) -> None:
    access = kubeconfig.read(str(write(config("https://a:1"))), None, {"KUBECONFIG": str(write(config("https://b:1"), "other"))})
    assert (access.context, access.server) == ("here", "https://a:1")


def test_kubeconfig_names_several_files_and_the_first_to_name_a_thing_wins(write: Callable[..., Path], tmp_path: Path) -> None:
    first, second = write(config("https://a:1", name="a"), "a"), write(config("https://b:1", name="b"), "b")
    environ = {"KUBECONFIG": f"{tmp_path / 'absent'}:{first}:{second}"}
    assert kubeconfig.read(None, None, environ).context == "a"
    assert kubeconfig.read(None, "b", environ).server == "https://b:1"


def test_the_home_folders_file_is_last(write: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / ".kube").mkdir()
    write(config(), ".kube/config")
    assert kubeconfig.read(None, None, {"HOME": str(tmp_path)}).context == "here"


@pytest.mark.parametrize(
    ("content", "context", "says"),
    [
        (None, None, "is not a file: there is no cluster to build on, nothing was created"),
        ("a: [", None, "can't be read"),
        ("just text", None, "is not a kubeconfig"),
        (config(), "elsewhere", "triton-fleet:cluster.context (elsewhere) is not in"),
        ({**config(), "current-context": ""}, None, "has no current-context"),
        (config(""), None, "names no server"),
    ],
)
def test_what_cannot_be_found_is_reported(
    write: Callable[..., Path], tmp_path: Path, content: object, context: str | None, says: str
) -> None:
    path = tmp_path / "config" if content is None else write(content)
    with pytest.raises(FleetError) as caught:
        kubeconfig.read(str(path), context, {})
    assert says in str(caught.value)
    assert str(caught.value).startswith("triton-fleet:cluster.")


class _Handler(http.server.BaseHTTPRequestHandler):
    status = 200
    answer = b"{}"
    seen: list[tuple[str, str | None, Any]]

    def do_GET(self) -> None:
        peer = self.connection.getpeercert() if isinstance(self.connection, ssl.SSLSocket) else None
        self.seen.append((self.path, self.headers.get("Authorization"), peer))
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1 that serves as authority, server and client alike."""
    folder = tmp_path_factory.mktemp("pki")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
    command += "-subj /CN=admin -addext subjectAltName=IP:127.0.0.1,DNS:api.fleet"
    subprocess.run([*command.split(), "-keyout", "key.pem", "-out", "cert.pem"], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture
def server(pki: Path) -> Iterator[tuple[str, type[_Handler]]]:
    handler = type("Handler", (_Handler,), {"seen": [], "status": 200})
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / "cert.pem", pki / "key.pem")
    context.load_verify_locations(pki / "cert.pem")
    context.verify_mode = ssl.CERT_OPTIONAL
    httpd = http.server.HTTPServer(("127.0.0.1", 0), handler)
    httpd.socket = context.wrap_socket(httpd.socket, server_side=True)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"https://127.0.0.1:{httpd.server_port}", handler
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def data(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def test_asks_with_inline_certificates(write: Callable[..., Path], pki: Path, server: tuple[str, type[_Handler]]) -> None:
    url, handler = server
    user = {"client-certificate-data": data(pki / "cert.pem"), "client-key-data": data(pki / "key.pem")}
    path = write(config(url, user=user, cluster={"certificate-authority-data": data(pki / "cert.pem")}))
    kubeconfig.check_answers(kubeconfig.read(str(path), None, {}))
    ((asked, _, peer),) = handler.seen
    assert asked == "/version/"
    assert peer["subject"] == ((("commonName", "admin"),),)


def test_asks_with_files_beside_the_kubeconfig_and_a_token(
    write: Callable[..., Path], pki: Path, server: tuple[str, type[_Handler]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, handler = server
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")  # loopback never goes through a proxy
    write((pki / "cert.pem").read_text(), "ca.crt")
    path = write(config(url, user={"token": "t0ken"}, cluster={"certificate-authority": "ca.crt"}))
    kubeconfig.check_answers(kubeconfig.read(str(path), None, {}))
    assert handler.seen[0][1] == "Bearer t0ken"


@pytest.mark.parametrize(("status", "found"), [(200, True), (404, False), (403, None), (503, None)])
def test_an_api_group_is_served_or_not(
    write: Callable[..., Path], pki: Path, server: tuple[str, type[_Handler]], status: int, found: bool | None
) -> None:
    url, handler = server
    handler.status = status
    path = write(config(url, user={"token": "t0ken"}, cluster={"certificate-authority-data": data(pki / "cert.pem")}))
    assert kubeconfig.serves(kubeconfig.read(str(path), None, {}), "metrics.k8s.io", "v1beta1") is found
    assert handler.seen[0][:2] == ("/apis/metrics.k8s.io/v1beta1", "Bearer t0ken")


def test_an_api_group_of_a_cluster_that_can_not_be_asked(write: Callable[..., Path]) -> None:
    assert kubeconfig.serves(kubeconfig.read(str(write(config("https://127.0.0.1:1"))), None, {}), "metrics.k8s.io", "v1beta1") is None
    user = {"exec": {"command": "false", "apiVersion": "client.authentication.k8s.io/v1"}}
    assert kubeconfig.serves(kubeconfig.read(str(write(config(user=user))), None, {}), "metrics.k8s.io", "v1beta1") is None


def test_a_cluster_that_does_not_answer(write: Callable[..., Path]) -> None:
    access = kubeconfig.read(str(write(config("https://127.0.0.1:1"))), None, {})
    with pytest.raises(FleetError) as caught:
        kubeconfig.check_answers(access)
    assert str(caught.value) == (
        "triton-fleet:cluster.kubeconfig (context here, https://127.0.0.1:1) does not answer ([Errno 111] Connection refused): "
        "nothing was created. Start it (make up) or fix the kubeconfig."
    )


def test_a_certificate_of_another_authority(write: Callable[..., Path], server: tuple[str, type[_Handler]]) -> None:
    access = kubeconfig.read(str(write(config(server[0]))), None, {})
    with pytest.raises(FleetError, match=r"does not answer .*certificate verify failed"):
        kubeconfig.check_answers(access)


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_insecure_means_insecure(write: Callable[..., Path], server: tuple[str, type[_Handler]]) -> None:
    path = write(config(server[0], cluster={"insecure-skip-tls-verify": True}))
    kubeconfig.check_answers(kubeconfig.read(str(path), None, {}))


@pytest.mark.parametrize(("name", "fails"), [("api.fleet", False), ("other.fleet", True)])
def test_the_certificate_must_carry_the_tls_server_name(
    write: Callable[..., Path], pki: Path, server: tuple[str, type[_Handler]], name: str, fails: bool
) -> None:
    cluster = {"certificate-authority-data": data(pki / "cert.pem"), "tls-server-name": name}
    access = kubeconfig.read(str(write(config(server[0], cluster=cluster))), None, {})
    with pytest.raises(FleetError, match="Hostname mismatch") if fails else nullcontext():
        kubeconfig.check_answers(access)


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
@pytest.mark.parametrize(("status", "says"), [(401, "refuses these credentials"), (500, "it is not ready"), (403, None)])
def test_what_it_answers(write: Callable[..., Path], server: tuple[str, type[_Handler]], status: int, says: str | None) -> None:
    url, handler = server
    handler.status = status
    access = kubeconfig.read(str(write(config(url, cluster={"insecure-skip-tls-verify": True}))), None, {})
    if says is None:
        kubeconfig.check_answers(access)  # 403: it answers, and only withholds its version
        return
    with pytest.raises(FleetError, match=says):
        kubeconfig.check_answers(access)


@pytest.mark.parametrize("user", [{"exec": {"command": "aws"}}, {"auth-provider": {"name": "gcp"}}])
def test_credentials_that_a_program_makes_are_left_to_the_provider(write: Callable[..., Path], user: dict[str, Any]) -> None:
    kubeconfig.check_answers(kubeconfig.read(str(write(config(user=user))), None, {}))


@pytest.mark.parametrize(
    ("user", "gke"),
    [
        ({"exec": {"command": "gke-gcloud-auth-plugin"}}, True),
        ({"exec": {"command": "/usr/lib/google-cloud-sdk/bin/gke-gcloud-auth-plugin"}}, True),
        ({"auth-provider": {"name": "gcp"}}, True),
        ({"auth-provider": {"name": "oidc"}}, False),
        ({"exec": {"command": "aws"}}, False),
        ({"exec": {"command": "kubelogin"}}, False),  # AKS
    ],
)
def test_gke_is_recognized_by_the_program_of_its_credentials(write: Callable[..., Path], user: dict[str, Any], gke: bool) -> None:
    assert kubeconfig.find(str(write(config(user=user))), None).gke == gke


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
@pytest.mark.parametrize(
    ("version", "gke"), [("v1.35.1-gke.1200", True), ("v1.35.1-eks-5d4a308", False), ("v1.35.1", False), ("v1.35.1+k3s1", False)]
)
def test_gke_is_recognized_by_its_version(write: Callable[..., Path], server: tuple[str, type[_Handler]], version: str, gke: bool) -> None:
    url, handler = server
    handler.answer = json.dumps({"gitVersion": version}).encode()
    path = write(config(url, user={"token": "t"}, cluster={"insecure-skip-tls-verify": True}))
    assert kubeconfig.find(str(path), None).gke == gke


def test_a_proxy_of_the_contexts_own_is_left_to_the_provider(write: Callable[..., Path]) -> None:
    kubeconfig.check_answers(kubeconfig.read(str(write(config(cluster={"proxy-url": "socks5://x:1"}))), None, {}))


def test_broken_inline_data(write: Callable[..., Path]) -> None:
    path = write(config(user={"client-certificate-data": "abc", "client-key-data": ""}))
    with pytest.raises(FleetError, match="client-certificate-data or client-key-data is not base64"):
        kubeconfig.check_answers(kubeconfig.read(str(path), None, {}))
