"""docs/settings.md says what the models say."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from components.stack.load import parse
from components.stack.places import models_in
from components.stack.reference import PAGE, keys, page
from components.stack.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from components.base.model import Model


def fields(model: type[Model], path: str = "") -> Iterator[tuple[str, str | None]]:
    for name, field in model.model_fields.items():
        yield f"{path}{field.alias or name}", field.description
        for inner in models_in(field.annotation):
            yield from fields(inner, f"{path}{field.alias or name}.")


def test_the_page_is_up_to_date() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page(text) == text, "run `python -m components.stack.reference`"


def test_every_setting_is_documented() -> None:
    assert [path for path, description in fields(Settings) if not description] == []


def test_the_list_has_types_and_defaults() -> None:
    assert "| `[].scaling.maxReplicas` | integer | `4` | Most pods. |" in keys()
    assert "| `bucket` | string | **required** |" in keys()
    assert "| `[].scaling.metrics[].target` with `queueTime` | duration | **required** |" in keys()
    assert "| `[].drain.preStop` | duration | `15` s |" in keys()
    assert "| `gpuPools[].sharing.kind` | `whole` or `timeSlicing` or `mps` or `mig` | `whole` |" in keys()


ENDPOINT = {"publicCidrs": ["203.0.113.0/24"]}
CLUSTERS: dict[str, dict[str, Any]] = {
    "existing": {"provider": "existing"},
    "eks": {"provider": "eks", "region": "eu-west-1", "endpoint": ENDPOINT},
    "gke": {"provider": "gke", "region": "europe-west4", "project": "my-project", "endpoint": ENDPOINT},
}


def value_at(settings: Any, key: str) -> Any:
    for step in key.split("."):
        name = re.sub(r"(?=[A-Z])", "_", step.removesuffix("[]")).lower()
        if settings is None:
            return None  # a part that this stack has not
        settings = getattr(settings, name) if name else settings
        settings = settings[0] if step.endswith("[]") else settings
    return settings


def shown(value: object) -> str:
    if isinstance(value, tuple):
        return "`, `".join(map(shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


@pytest.mark.parametrize("provider", CLUSTERS)
def test_defaults_are_those_of_the_settings_as_their_parents_make_them(provider: str) -> None:
    """A parent may give a part another default than the part's own model has: the nodes without GPUs have smaller disks."""
    entry = {"image": "x:1", "resources": {"gpus": 0, "cpu": 1, "memory": "4Gi"}}
    repository = {"bucket": "models", "store": "gcs" if provider == "gke" else "s3"}
    settings = parse({"repository": repository, "serving": [entry], "cluster": CLUSTERS[provider]})
    compared = 0
    for section in re.split(r"^### ", keys(), flags=re.MULTILINE)[1:]:
        top = section.split("`")[1]
        tables = re.split(r"^#### ", section, flags=re.MULTILINE)
        chosen = next((table for table in tables if f"`provider: {provider}`" in table), tables[0]) if top == "cluster" else tables[0]
        for key, default in re.findall(r"^\| `([^`]+)` \| [^|]+ \| `([^`]+)`(?: s)? \|", chosen, flags=re.MULTILINE):
            full = f"{top}{key}" if key.startswith("[]") else f"{top}.{key}"
            if "[]" in full.replace("serving[].", "") or full.endswith((".gpus", "resources.cpu", "resources.memory", ".kind", ".store")):
                continue  # this stack has no entry there, or another value
            if (value := value_at(settings, full)) is not None:
                compared += 1
                assert shown(value) == default, full
    assert compared > 60
