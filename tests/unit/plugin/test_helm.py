"""Arguments for Helm, values, checksums, and what a release's state holds."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from local.plugins.kubernetes import helm_inputs, helm_release
from local.plugins.kubernetes.config import Config
from local.plugins.kubernetes.helm_cli import (
    Action,
    Helm,
    HelmError,
    Location,
    install_arguments,
    template_arguments,
    uninstall_arguments,
    upgrade_arguments,
)
from local.plugins.kubernetes.properties import Asset, Secret
from local.plugins.kubernetes.provider import ProviderError

WHERE = Location("prometheus", version="1.2.3", repo="https://charts.example.com")


def test_install_with_both_helms() -> None:
    action = Action("kps", "monitoring", WHERE, timeout_s=900, atomic=True, skip_crds=True)
    four = install_arguments(action, 4)
    assert four[:3] == ["install", "kps", "prometheus"]
    for flags in (["--version", "1.2.3"], ["--repo", "https://charts.example.com"], ["--namespace", "monitoring"], ["--timeout", "900s"]):
        assert flags[1] == four[four.index(flags[0]) + 1]
    assert {"--rollback-on-failure", "--wait=watcher", "--skip-crds"} <= set(four)
    three = install_arguments(action, 3)
    assert {"--atomic", "--wait", "--skip-crds"} <= set(three)
    assert four[four.index("--values") + 1] == "-", "values go through stdin"


def test_skip_await_does_not_wait() -> None:
    arguments = install_arguments(Action("x", "n", WHERE, wait=False, wait_for_jobs=True), 4)
    assert not [argument for argument in arguments if argument.startswith("--wait")]


def test_upgrade_keeps_all_revisions_unless_told() -> None:
    arguments = upgrade_arguments(Action("x", "n", WHERE, reuse_values=True, reset_values=True, force=True), 4)
    assert arguments[-2:] == ["--history-max", "0"]
    assert "--force-replace" in arguments
    assert "--reset-values" in arguments
    assert "--reuse-values" not in arguments
    assert upgrade_arguments(Action("x", "n", WHERE, max_history=3), 4)[-2:] == ["--history-max", "3"]


def test_uninstall() -> None:
    assert uninstall_arguments("x", "n", wait=True, timeout_s=5, major=4)[-3:] == ["--wait=watcher", "--timeout", "5s"]
    assert "--ignore-not-found" in uninstall_arguments("x", "n", wait=False, timeout_s=5, major=4)


def test_template_never_runs_hooks_and_needs_no_cluster() -> None:
    arguments = template_arguments("t", "n", WHERE, include_crds=True, kube_version="v1.36.3", api_versions=("a/v1", "b/v1"), online=False)
    assert {"--no-hooks", "--include-crds", "--dry-run=client"} <= set(arguments)
    online = template_arguments("t", "n", WHERE, include_crds=True, kube_version="", api_versions=(), online=True)
    assert {"--dry-run=server", "--take-ownership"} <= set(online), "a chart that looks something up renders again after the first run"
    assert arguments[arguments.index("--api-versions") + 1] == "a/v1,b/v1"


def test_version_of_a_folder_is_not_asked_for(tmp_path: Path) -> None:
    (tmp_path / "Chart.yaml").write_text("name: x\nversion: 1.0.0\n")
    where = Location(str(tmp_path), version="1.0.0")
    assert where.folder == tmp_path
    assert "--version" not in where.arguments()


def test_values_are_merged_as_helm_merges(tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text("a: {b: 1, c: 2}\nlist: [1, 2]\nkept: true\n")
    inputs = {
        "valueYamlFiles": [Asset((("path", str(file)),)), Asset((("text", "a: {d: 4}"),))],
        "values": {"a": {"b": Secret(9), "c": None}, "list": [3], "note": Asset((("text", "read"),))},
    }
    assert helm_inputs.chart_values(inputs) == {"a": {"b": 9, "c": None, "d": 4}, "list": [3], "kept": True, "note": "read"}


@pytest.mark.parametrize("text", ["- a list", "not: [closed"])
def test_bad_values_files_are_named(text: str) -> None:
    with pytest.raises(ProviderError, match="valueYamlFiles"):
        helm_inputs.chart_values({"valueYamlFiles": [Asset((("text", text),))]})


def test_checksum_follows_content_and_nothing_else(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "templates").mkdir(parents=True)
        (tmp_path / name / "Chart.yaml").write_text("name: x")
        (tmp_path / name / "templates" / "a.yaml").write_text("a: 1")
    first = helm_inputs.folder_checksum(tmp_path / "one")
    assert first == helm_inputs.folder_checksum(tmp_path / "two")
    (tmp_path / "two" / "templates" / "a.yaml").write_text("a: 2")
    assert first != helm_inputs.folder_checksum(tmp_path / "two")
    (tmp_path / "one" / "templates" / "a.yaml").rename(tmp_path / "one" / "templates" / "b.yaml")
    assert first != helm_inputs.folder_checksum(tmp_path / "one")


def test_action_of_inputs() -> None:
    action = helm_inputs.action(
        {
            "name": "x",
            "namespace": "n",
            "chart": "c",
            "skipAwait": True,
            "waitForJobs": True,
            "maxHistory": 2,
            "repositoryOpts": {"password": Secret("p")},
        },
        "urn",
    )
    assert not action.wait
    assert not action.wait_for_jobs
    assert action.max_history == 2
    assert action.where.password == "p"
    assert action.labels[0][0] == helm_inputs.OWNER_LABEL


def fake_helm(tmp_path: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> Helm:
    program = tmp_path / "helm"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return Helm(Config(context="c", kubeconfig="/somewhere/kubeconfig"))


def test_helm_gets_values_and_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helm = fake_helm(tmp_path, 'cat; echo " $KUBECONFIG $HELM_KUBECONTEXT $HELM_DRIVER"', monkeypatch)
    assert helm.run(["install"], values={"a": "no"}) == '{"a": "no"} /somewhere/kubeconfig c secret\n'


def test_contents_of_a_kubeconfig_become_a_private_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helm = fake_helm(tmp_path, 'cat "$KUBECONFIG"; echo; stat -c %a "$KUBECONFIG"; echo "$KUBECONFIG"', monkeypatch)
    helm.config = Config(kubeconfig='{"kind": "Config"}')
    contents, mode, path = helm.run(["version"]).splitlines()
    assert contents == '{"kind": "Config"}'
    assert mode == "600"
    assert Path(path).exists()
    helm.close()
    assert not Path(path).exists()


def test_failure_is_what_helm_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helm = fake_helm(tmp_path, 'echo "level=WARN msg=noise" >&2; echo "Error: INSTALLATION FAILED: no" >&2; exit 1', monkeypatch)
    with pytest.raises(HelmError) as caught:
        helm.run(["install"])
    assert str(caught.value) == "INSTALLATION FAILED: no"


def test_cancelled_helm_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helm = fake_helm(tmp_path, "exec sleep 600", monkeypatch)
    threading.Timer(0.3, helm.cancelled.set).start()
    with pytest.raises(HelmError, match="cancelled"):
        helm.run(["install"])


def test_missing_helm_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HelmError, match="make -s env"):
        Helm(Config()).run(["version"])


def test_state_of_a_release_holds_no_secret_in_the_clear() -> None:
    found = helm_release.Found(
        "x", "n", "deployed", 3, "chart", "1.0.0", "9", "kind: ConfigMap\napiVersion: v1\nmetadata: {name: c, namespace: space}\n", {}, {}
    )
    inputs: dict[str, Any] = {"name": "x", "namespace": "n", "chart": "./c", "values": {"p": Secret("hunter2")}, "checksum": "abc"}
    state = helm_release.Releases._state(inputs, found)
    assert state["values"] == {"p": Secret("hunter2")}
    assert isinstance(state["__inputs"], Secret)
    assert state["status"]["revision"] == 3
    assert state["resourceNames"] == {"ConfigMap/v1": ["space/c"]}
    assert "checksum" not in state
