"""Kubeconfigs and the provider's settings."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from local.plugins.kubernetes import config, kubeconfig
from local.plugins.kubernetes.kubeconfig import KubeconfigError
from local.plugins.kubernetes.properties import UNKNOWN

if TYPE_CHECKING:
    from pathlib import Path


def contents(name: str = "one", server: str = "https://127.0.0.1:1", **user: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": f"ns-{name}"}}],
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": base64.b64encode(b"CA").decode()}}],
        "users": [{"name": name, "user": user or {"token": "t"}}],
    }


def write(path: Path, value: dict[str, Any]) -> Path:
    path.write_text(json.dumps(value))
    return path


def test_contents_or_path(tmp_path: Path) -> None:
    for setting in (json.dumps(contents()), str(write(tmp_path / "k", contents()))):
        access = kubeconfig.access(kubeconfig.read(setting))
        assert (access.server, access.namespace, access.ca) == ("https://127.0.0.1:1", "ns-one", b"CA")
        assert access.credentials().authorization == "Bearer t"


def test_several_files_merge_and_the_first_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = write(tmp_path / "a", contents("one"))
    second = write(
        tmp_path / "b", {**contents("two"), "users": [{"name": "one", "user": {"token": "no"}}, {"name": "two", "user": {"token": "2"}}]}
    )
    monkeypatch.setenv("KUBECONFIG", f"{first}:{tmp_path / 'missing'}:{second}")
    merged = kubeconfig.read("")
    assert kubeconfig.access(merged).credentials().authorization == "Bearer t"
    assert kubeconfig.access(merged, context="two").credentials().authorization == "Bearer 2"


def test_files_are_found_beside_the_kubeconfig(tmp_path: Path) -> None:
    (tmp_path / "client.crt").write_text("CERT")
    (tmp_path / "client.key").write_text("KEY")
    path = write(tmp_path / "k", contents(**{"client-certificate": "client.crt", "client-key": "client.key"}))
    credentials = kubeconfig.access(kubeconfig.read(str(path))).credentials()
    assert (credentials.certificate, credentials.key) == (b"CERT", b"KEY")


def test_credential_programs_are_asked_again_when_their_answer_is_old(tmp_path: Path) -> None:
    until = (datetime.now(UTC) + timedelta(seconds=5)).isoformat()
    program = tmp_path / "login"
    program.write_text(f'#!/bin/sh\necho x >> "$COUNT"\necho \'{{"status": {{"token": "fresh", "expirationTimestamp": "{until}"}}}}\'\n')
    program.chmod(0o755)
    user: dict[str, Any] = {
        "exec": {
            "command": "./login",
            "apiVersion": "client.authentication.k8s.io/v1",
            "env": [{"name": "COUNT", "value": str(tmp_path / "n")}],
        }
    }
    access = kubeconfig.access(kubeconfig.read(str(write(tmp_path / "k", contents(**user)))))
    assert access.credentials().authorization == "Bearer fresh"
    access.credentials()
    assert (tmp_path / "n").read_text() == "x\nx\n"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"current-context": "two"}, "no context 'two'; it has: 'one'"),
        ({"current-context": ""}, "current-context"),
        ({"clusters": []}, "no cluster 'one'"),
        ({"clusters": [{"name": "one", "cluster": {}}]}, "no server"),
        ({"users": [{"name": "one", "user": {"client-certificate": "/nowhere"}}]}, "client-certificate can't be read"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(KubeconfigError, match=said):
        kubeconfig.access(kubeconfig.read(json.dumps({**contents(), **change})))


def test_missing_file_says_where_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(KubeconfigError, match=r"no kubeconfig at .*nowhere.*KUBECONFIG"):
        kubeconfig.read(str(tmp_path / "nowhere"))


def test_settings_and_their_environment_variables() -> None:
    parsed = config.parse({}, {})
    assert parsed.server_side_apply
    assert not parsed.upsert_existing
    prefix = "kubernetes:config:"
    parsed = config.parse(
        {f"{prefix}enableServerSideApply": "false", f"{prefix}helmReleaseSettings": '{"driver": "memory"}', f"{prefix}context": "c"},
        {"PULUMI_K8S_UPSERT_EXISTING_OBJECTS": "true", "PULUMI_K8S_ENABLE_SERVER_SIDE_APPLY": "true"},
    )
    assert not parsed.server_side_apply, "the setting wins over the variable"
    assert parsed.upsert_existing
    assert parsed.helm.driver == "memory"
    assert parsed.context == "c"


def test_options_that_can_not_be_are_refused() -> None:
    with pytest.raises(config.ConfigError, match="renderYamlToDirectory"):
        config.parse({"kubernetes:config:renderYamlToDirectory": "x"}, {})
    with pytest.raises(config.ConfigError, match="kubeClientSettings"):
        config.parse({"kubernetes:config:kubeClientSettings": "[]"}, {})


def test_another_cluster_is_another_provider(tmp_path: Path) -> None:
    one, same = write(tmp_path / "one", contents()), write(tmp_path / "same", contents())
    other = write(tmp_path / "other", contents(server="https://127.0.0.1:2"))
    assert config.compare({"kubeconfig": str(one)}, {"kubeconfig": str(one)}) == config.ConfigDiff((), ())
    assert config.compare({"kubeconfig": str(one)}, {"kubeconfig": str(same)}) == config.ConfigDiff(("kubeconfig",), ())
    assert config.compare({"kubeconfig": str(one)}, {"kubeconfig": str(other)}).replaces == ("kubeconfig",)
    assert config.compare({"kubeconfig": str(one)}, {"kubeconfig": UNKNOWN}).replaces == ("kubeconfig",)
    assert config.compare({"namespace": "a"}, {"namespace": "b"}) == config.ConfigDiff(("namespace",), ())


def test_cluster_identifier_decides(tmp_path: Path) -> None:
    one, other = write(tmp_path / "one", contents()), write(tmp_path / "other", contents(server="https://127.0.0.1:2"))
    kept = config.compare({"kubeconfig": str(one), "clusterIdentifier": "x"}, {"kubeconfig": str(other), "clusterIdentifier": "x"})
    assert kept.replaces == ()
    changed = config.compare({"kubeconfig": str(one), "clusterIdentifier": "x"}, {"kubeconfig": str(one), "clusterIdentifier": "y"})
    assert changed.replaces == ("clusterIdentifier",)
