"""How clients of the tests reach the control plane that stands in for EKS': by the same kubeconfig and the same token command."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Final

from local.plugins.kubernetes import kubeconfig

if TYPE_CHECKING:
    from pathlib import Path

CLUSTER_FILE: Final = "cluster.json"
"""In the folder of the doubles: where the control plane is."""
_CREDENTIAL_FILE: Final = "cluster-credential.json"
_AWS: Final = """#!/bin/sh
# Stands in for the AWS command line, of which only two calls are used: a client certificate where EKS takes a signed token.
case "$*" in
--version) echo "aws-cli/2.31.0 Python/3.13 Linux/6 stand-in" ;;
*"eks get-token --cluster-name "*) exec cat "{file}" ;;
*) echo "aws $*: only --version and eks get-token stand in here" >&2; exit 2 ;;
esac
"""


def publish(folder: Path, path: Path) -> None:
    """Tell the doubles of ``folder`` where the control plane is that the kubeconfig ``path`` leads to."""
    folder.mkdir(parents=True, exist_ok=True)
    access = kubeconfig.access(kubeconfig.read(str(path)))
    credentials = access.credentials()
    content = {"server": access.server, "authority": base64.b64encode(access.ca or b"").decode("ascii")}
    (folder / CLUSTER_FILE).write_text(json.dumps(content), encoding="utf-8")
    status = {
        "clientCertificateData": (credentials.certificate or b"").decode("ascii"),
        "clientKeyData": (credentials.key or b"").decode("ascii"),
    }
    credential = {"apiVersion": "client.authentication.k8s.io/v1beta1", "kind": "ExecCredential", "spec": {}, "status": status}
    file = folder / _CREDENTIAL_FILE
    file.touch(mode=0o600)
    file.write_text(json.dumps(credential), encoding="utf-8")


def write_aws_command(programs: Path, folder: Path) -> None:
    """Put the command ``aws`` into the folder ``programs``, for PATH."""
    programs.mkdir(parents=True, exist_ok=True)
    path = programs / "aws"
    path.write_text(_AWS.format(file=folder / _CREDENTIAL_FILE), encoding="utf-8")
    path.chmod(0o755)


def eks_kubeconfig(folder: Path, *, name: str, region: str) -> dict[str, Any]:
    """The kubeconfig that the component gives away."""
    cluster = json.loads((folder / CLUSTER_FILE).read_text(encoding="utf-8"))
    arguments = ["--region", region, "eks", "get-token", "--cluster-name", name, "--output", "json"]
    command = {
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "command": "aws",
        "args": arguments,
        "env": [{"name": "KUBERNETES_EXEC_INFO", "value": '{"apiVersion": "client.authentication.k8s.io/v1beta1"}'}],
    }
    return {
        "apiVersion": "v1",
        "clusters": [
            {"cluster": {"server": cluster["server"], "certificate-authority-data": cluster["authority"]}, "name": "kubernetes"},
        ],
        "contexts": [{"context": {"cluster": "kubernetes", "user": "aws"}, "name": "aws"}],
        "current-context": "aws",
        "kind": "Config",
        "users": [{"name": "aws", "user": {"exec": command}}],
    }
