"""A Google service account's key file: read whole or refused before anything is made, and never shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from components.base.errors import FleetError
from components.repository.resource import check_environment, read_key_file
from components.repository.settings import RepositorySettings
from components.stack.load import parse

if TYPE_CHECKING:
    from pathlib import Path

KEY = {
    "type": "service_account",
    "project_id": "my-project",
    "private_key_id": "1",
    "private_key": "-----BEGIN PRIVATE KEY-----\nhush\n-----END PRIVATE KEY-----\n",
    "client_email": "reader@my-project.iam.gserviceaccount.com",
    "token_uri": "https://oauth2.googleapis.com/token",
}


def settings(path: Path | str, **more: Any) -> RepositorySettings:
    return RepositorySettings.model_validate(
        {"store": "gcs", "bucket": "models-of-mine", "credentials": "keyFile", "keyFile": str(path), **more}
    )


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "keyfile.json"
    path.write_text(json.dumps(KEY, indent=2), encoding="utf-8")
    return path


def test_the_content_is_what_google_made(key_file: Path) -> None:
    content = read_key_file(settings(key_file))
    assert content is not None
    assert json.loads(content) == KEY


def test_another_formatting_is_no_change(key_file: Path) -> None:
    first = read_key_file(settings(key_file))
    key_file.write_text(json.dumps(dict(reversed(KEY.items()))), encoding="utf-8")
    assert read_key_file(settings(key_file)) == first


def test_a_path_starts_in_the_project_or_at_home(key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(key_file.parent)
    assert read_key_file(settings("keyfile.json"))
    monkeypatch.setenv("HOME", str(key_file.parent))
    assert read_key_file(settings("~/keyfile.json"))


def test_without_a_key_file_nothing_is_read() -> None:
    assert read_key_file(RepositorySettings(bucket="models")) is None


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, r"can't be read \(No such file or directory\): Triton would read the bucket without credentials\. Correct the path"),
        (b"\xff\xfe\x00", r"can't be read \(it is not text\)"),
        (b"no json", "is not a JSON object: Triton could not read it"),
        (b"[]", "is not a JSON object"),
        (b'{"type": "external_account"}', "is of type external_account: Triton needs a service account's key"),
        (b'{"type": "authorized_user"}', "is of type authorized_user"),
        (b"{}", "is of type none"),
        (b'{"type": "service_account", "client_email": "a@b"}', "has no private_key, token_uri: Triton could get no token"),
    ],
)
def test_what_triton_could_not_use_is_refused(tmp_path: Path, content: bytes | None, says: str) -> None:
    path = tmp_path / "keyfile.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FleetError, match=rf"triton-fleet:repository\.keyFile \(.*\) {says}"):
        check_environment(settings(path), {})


def test_a_refusal_never_shows_the_key(tmp_path: Path) -> None:
    path = tmp_path / "keyfile.json"
    path.write_text(json.dumps({**KEY, "client_email": ""}), encoding="utf-8")
    with pytest.raises(FleetError) as caught:
        read_key_file(settings(path))
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("repository", "says"),
    [
        (
            {"store": "gcs", "credentials": "keyFile"},
            "repository.keyFile is missing while credentials is keyFile: Triton would have no key.",
        ),
        ({"store": "gcs", "keyFile": "k.json"}, "repository.keyFile (k.json) has no effect: credentials is serviceAccount."),
        (
            {"store": "s3", "credentials": "keyFile", "keyFile": "k.json"},
            "repository.credentials is keyFile with store: s3: S3 has no key files, and Triton would read the bucket without credentials.",
        ),
    ],
)
def test_settings_that_do_not_go_together(repository: dict[str, Any], says: str) -> None:
    raw = {"repository": {"bucket": "models-of-mine", **repository}, "serving": [{"image": "x", "resources": {"gpus": 0}}]}
    with pytest.raises(FleetError) as caught:
        parse(raw)
    assert any(str(problem).startswith(f"triton-fleet:{says}") for problem in caught.value.problems)
