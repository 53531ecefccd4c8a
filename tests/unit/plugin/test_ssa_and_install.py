"""Ownership of fields, and the plugin's launcher."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from local.plugins import kubernetes
from local.plugins.kubernetes import ssa
from local.plugins.kubernetes.client import _warning_text
from local.plugins.kubernetes.errors import ApiError, Cause
from tests.servers import PATIENCE_S

ME = "pulumi-kubernetes-12345678"


def entry(manager: str, operation: str, fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"manager": manager, "operation": operation, "fieldsType": "FieldsV1", "fieldsV1": fields, **more}


def live(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": "n", "resourceVersion": "7", "managedFields": list(entries)}}


def test_fields_of_our_create_become_applied_ones() -> None:
    patch = ssa.migrate(live(entry(ME, "Update", {"f:a": {}}), entry("kcm", "Update", {"f:status": {}}, subresource="status")), ME)
    assert patch is not None
    fields = patch[0]["value"]
    assert [(item["manager"], item["operation"]) for item in fields] == [("kcm", "Update"), (ME, "Apply")]
    assert patch[1]["value"] == "7"


def test_kubectl_and_the_official_plugin_are_taken_over_and_merged() -> None:
    patch = ssa.migrate(
        live(
            entry(ME, "Apply", {"f:spec": {"f:a": {}}}),
            entry("kubectl-edit", "Update", {"f:spec": {"f:b": {}}}),
            entry("pulumi-kubernetes", "Update", {"f:data": {}}),
            entry("helm", "Apply", {"f:c": {}}),
        ),
        ME,
    )
    assert patch is not None
    managers = {item["manager"]: item["fieldsV1"] for item in patch[0]["value"]}
    assert managers == {"helm": {"f:c": {}}, ME: {"f:spec": {"f:a": {}, "f:b": {}}, "f:data": {}}}


def test_nothing_to_hand_over() -> None:
    assert ssa.migrate(live(entry(ME, "Apply", {}), entry("hpa", "Update", {}, subresource="scale")), ME) is None


@pytest.mark.parametrize(
    ("entries", "forced"),
    [
        ([(ME, "Update")], True),  # its own create
        ([("pulumi-kubernetes", "Update")], True),  # the official plugin's create
        ([("pulumi-kubernetes", "Update"), ("kubectl-patch", "Update")], True),  # kubectl's edit of an object that was never updated
        ([(ME, "Apply")], False),
        ([(ME, "Apply"), ("kubectl-patch", "Update")], False),
        ([(ME, "Apply"), ("kubectl-edit", "Update")], False),
        ([(ME, "Apply"), ("kubectl-client-side-apply", "Update")], False),
        ([(ME, "Apply"), ("kubectl", "Apply")], False),
        ([(ME, "Apply"), ("before-first-apply", "Update")], False),
        ([(ME, "Apply"), ("vpa", "Update")], False),
    ],
)
def test_a_preview_overwrites_what_the_official_plugins_preview_does(entries: list[tuple[str, str]], forced: bool) -> None:
    assert ssa.forced_in_preview(live(*(entry(manager, operation, {}) for manager, operation in entries)), ME) == forced


def test_owners() -> None:
    obj = live(
        entry("hpa", "Update", {"f:spec": {"f:replicas": {}}}, subresource="scale"), entry(ME, "Apply", {"f:spec": {"f:template": {}}})
    )
    assert ssa.owned_by_others(obj, ME, ("spec", "replicas"))
    assert not ssa.owned_by_others(obj, ME, ("spec", "template"))
    assert not ssa.owned_by_others(obj, ME, ("spec", "nothing"))
    assert ssa.made_by(obj, ME)
    assert not ssa.made_by(obj, "pulumi-kubernetes-87654321")


def test_conflict_message() -> None:
    error = ApiError(409, "Conflict", "Apply failed", (Cause(".spec.replicas", "FieldManagerConflict", 'conflict with "hpa"'),))
    text = ssa.conflict_message(error, "Deployment s/n was to be applied", ME)
    for part in (".spec.replicas", '"hpa"', ME, "ignore_changes", "patchForce"):
        assert part in text
    assert "--skip-preview" not in text
    error = ApiError(409, "Conflict", "Apply failed", (Cause(".spec.a", "FieldManagerConflict", 'conflict with "kubectl-edit"'),))
    assert "`pulumi up --refresh --skip-preview` takes over what kubectl changed" in ssa.conflict_message(error, "s/n", ME)


def test_warnings_of_the_server() -> None:
    assert _warning_text('299 - "unknown field \\"spec.x\\""') == 'unknown field "spec.x"'


def test_launcher_is_written_once_and_runs_anywhere(tmp_path: Path) -> None:
    path = kubernetes.write_launcher(tmp_path / "bin")
    before = path.stat()
    assert stat.S_IMODE(before.st_mode) == 0o755
    assert kubernetes.write_launcher(tmp_path / "bin").stat().st_mtime_ns == before.st_mtime_ns
    copied = tmp_path / "copy" / kubernetes.PLUGIN
    copied.parent.mkdir()
    copied.write_bytes(path.read_bytes())
    copied.chmod(0o755)
    process = subprocess.Popen([copied, "127.0.0.1:1"], cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdin is not None
    with process.stdout, process.stdin:
        assert int(process.stdout.readline()) > 0
        process.stdin.close()  # the engine is gone
        assert process.wait(PATIENCE_S) == 0


def test_launcher_names_the_interpreter_that_was_asked_for(tmp_path: Path) -> None:
    assert "/some/python" in kubernetes.write_launcher(tmp_path, python=Path("/some/python")).read_text()
    assert sys.executable in kubernetes.write_launcher(tmp_path).read_text()


def test_official_plugin_is_left_alone(tmp_path: Path) -> None:
    folder = kubernetes.plugin_folder(tmp_path)
    folder.mkdir(parents=True)
    with (folder / kubernetes.PLUGIN).open("wb") as file:
        file.truncate(100_000_000)
    assert kubernetes.official_installed(tmp_path)
    assert kubernetes.install(Path("/does/not/exist"), tmp_path, tmp_path / "bin") == folder / kubernetes.PLUGIN


def test_our_plugin_is_not_taken_for_the_official_one(tmp_path: Path) -> None:
    kubernetes.write_launcher(kubernetes.plugin_folder(tmp_path))
    assert not kubernetes.official_installed(tmp_path)


def test_no_network_is_no_official_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError

    monkeypatch.setattr("socket.create_connection", refuse)
    assert not kubernetes.official_available()
