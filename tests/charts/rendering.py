"""charts/triton rendered by real Helm for many settings, read into typed objects."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import yaml

from components.serving.settings import ServingSettings
from components.serving.values import ModelRepositoryValues, chart_values
from tests.charts.shapes import KINDS, Kind, Part

if TYPE_CHECKING:
    from pathlib import Path

FIRST = "bert-credentials-1"
ADMIN = "bert-admin"
IMAGE = "registry.example/triton:1"


@dataclass(frozen=True)
class Rendered:
    """The objects of one release, by kind."""

    objects: dict[str, Part]
    settings: ServingSettings | None = None

    def __getitem__(self, kind: type[Kind]) -> Kind:
        (found,) = (item for item in self.objects.values() if isinstance(item, kind))
        return found


@dataclass(frozen=True)
class Chart:
    """The chart, for rendering."""

    helm: Path
    path: Path
    scratch: Path
    done: dict[tuple[str, ...], subprocess.CompletedProcess[str]] = field(default_factory=dict)

    def template(self, values: dict[str, Any], *more: str, release: str = "bert") -> subprocess.CompletedProcess[str]:
        """What Helm says, asked once for the same."""
        text = json.dumps(values)
        if (key := (release, text, *more)) not in self.done:
            file = self.scratch / "values.json"
            file.write_text(text)
            command: list[str | Path] = [self.helm, "template", release, self.path, "--namespace", "models", "--values", file, *more]
            self.done[key] = subprocess.run(command, capture_output=True, text=True, check=False)
        return self.done[key]

    def render(self, values: dict[str, Any], *more: str, release: str = "bert") -> Rendered:
        done = self.template(values, *more, release=release)
        assert done.returncode == 0, done.stderr
        objects: dict[str, Part] = {}
        for document in yaml.safe_load_all(done.stdout):
            assert document["kind"] not in objects
            objects[document["kind"]] = KINDS[document["kind"]].model_validate(document)
        return Rendered(objects)

    def settings(self, **fields: Any) -> Rendered:
        settings = serving(**fields)
        return replace(self.render(values(settings)), settings=settings)


def serving(**fields: Any) -> ServingSettings:
    return ServingSettings.model_validate({"name": "bert", "namespace": "models", "image": IMAGE, **fields})


def values(settings: ServingSettings, secret: str = FIRST) -> dict[str, Any]:
    url = "s3://http://10.0.0.1:7070/bucket/models/abc"
    repository = ModelRepositoryValues(url=url, release="abc", region="eu-west-1", credentials_secret=secret)
    settings = settings.model_copy(update={"admin": settings.admin.model_copy(update={"key_secret": ADMIN})})  # as the program does
    return chart_values(settings, repository, annotations={"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/reader"}).dump()
