"""docs/settings.md says what the models say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.stack.reference import PAGE, keys, page
from components.stack.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from components.base.model import Model


def fields(model: type[Model], path: str = "") -> Iterator[tuple[str, str | None]]:
    from components.stack.reference import _models  # noqa: PLC0415 (the way into nested models is the page's own)

    for name, field in model.model_fields.items():
        yield f"{path}{field.alias or name}", field.description
        for inner, below in _models(field.annotation, f"{path}{field.alias or name}."):
            yield from fields(inner, below)


def test_the_page_is_up_to_date() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page(text) == text, "run `python -m components.stack.reference`"


def test_every_setting_is_documented() -> None:
    assert [path for path, description in fields(Settings) if not description] == []


def test_the_list_has_kinds_and_defaults() -> None:
    assert "| `[].scaling.maxReplicas` | whole number | `4` | Most pods. |" in keys()
    assert "| `bucket` | text | **needed** |" in keys()
    assert "| `[].scaling.metrics[].target` of `queueTime` | duration | **needed** |" in keys()
    assert "| `[].drain.preStop` | duration | `15` s |" in keys()
