"""The files of charts/triton that are generated: ``python -m components.serving.chart_files`` (`make schema`).

values.yaml and values.schema.json come from the values; files/rules.json from the rules that the chart alone must check too: those whose
violation Kubernetes accepts and nobody sees, such as an autoscaler that holds still. What Kubernetes or the server rejects at once, such as
an image that does not exist, is left to them. The rules stand in Python; the templates only evaluate the tables.
"""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml
from pydantic.json_schema import GenerateJsonSchema

from components.base.model import Model
from components.serving.flags import OWNED
from components.serving.metrics import PUBLISHED
from components.serving.values import Values

if TYPE_CHECKING:
    from collections.abc import Iterator

CHART: Final = Path(__file__).resolve().parents[2] / "charts" / "triton"
_HEAD: Final = """\
# Defaults of the chart. Generated from components/serving/values.py by `make schema`. Durations are seconds.
# values.schema.json rejects every other key. Only modelRepository.url (or urls) has no default.
"""
_WIDTH: Final = 130
_SET_BY: Final = {
    "model-repository": "modelRepository",
    "load-model": "modelRepository.models",
    "model-control-mode": "modelRepository.mode",
    "repository-poll-secs": "modelRepository.mode",
    "strict-readiness": "probes",
    "exit-timeout-secs": "drain.exitTimeout",
    "grpc-max-connection-age": "drain.recycleGrpc",
    "allow-gpu-metrics": "gpuMetrics",
    "log-verbose": "logVerbose",
}
"""Flag -> the value that the chart sets it from."""
_ADMIN: Final = {"http-restricted-api", "grpc-restricted-protocol", "allow-sagemaker", "allow-vertex-ai"}
"""Flags that the template of the admin endpoints rejects in every form."""


class _WithoutTitles(GenerateJsonSchema):
    """Leaves out titles: they repeat the key."""

    def field_title_should_be_set(self, _schema: object) -> bool:
        return False


def schema() -> str:
    """Return the text of values.schema.json."""
    described = Values.model_json_schema(by_alias=True, schema_generator=_WithoutTitles)
    for definition in [described, *described["$defs"].values()]:
        definition.pop("title", None)
    # Draft 7 is what every Helm since 3.0 can check; nothing here needs more.
    document = {**described, "$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of the chart triton"}
    return json.dumps(document, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def rules() -> str:
    """Return the text of files/rules.json: flags that undo what the chart computes, and what metrics need."""
    flags = {
        option: {"harmless": sorted(harmless), "setBy": _SET_BY.get(option, ""), "why": why.rpartition(". ")[0]}
        for option, (harmless, why) in OWNED.items()
        if option not in _ADMIN
    }
    metrics = {
        kind.name: {
            "counted": kind.counted,
            "engine": kind.engine or "",
            "highest": kind.model_construct(kind="", target=kind.plausible[1]).average(),
            "lowest": kind.model_construct(kind="", target=kind.plausible[0]).average(),
            "since": "{:02}.{:02}".format(*kind.since) if kind.since[0] else "",
        }
        for kind in PUBLISHED
    }
    document = {"flags": {**flags, "model-store": flags["model-repository"]}, "metrics": metrics}  # model-store: its old name
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def values_yaml() -> str:
    """Return the text of values.yaml: every default under its description; a key without default is a comment."""
    return _HEAD + "\n".join(line for name in Values.model_fields if name != "global_" for line in ("", *_lines(Values(), name))) + "\n"


def _lines(model: Model, name: str, indent: str = "") -> Iterator[str]:
    field, value = type(model).model_fields[name], getattr(model, name)
    key = field.alias or name
    about = field.description or (type(value).__doc__ if isinstance(value, Model) else None) or ""
    text = " ".join(about.replace("``", "").replace("None:", "By default:").split())
    for line in textwrap.wrap(text, _WIDTH - len(indent)):
        yield f"{indent}# {line}"
    if value is None:
        yield f"{indent}# {key}:"
    elif isinstance(value, Model) and any(inner.description for inner in type(value).model_fields.values()):
        yield f"{indent}{key}:{'' if value.model_dump(exclude_none=True) else ' {}'}"
        for inner in type(value).model_fields:
            yield from _lines(value, inner, f"{indent}  ")
    else:
        plain: dict[str, Any] = model.model_dump(mode="json", by_alias=True, exclude_none=True, include={name})
        written = yaml.safe_dump(_whole(plain), sort_keys=False, width=_WIDTH)
        yield from textwrap.indent(written.rstrip(), indent).splitlines()


def _whole(value: Any) -> Any:
    """Write 15.0 as 15."""
    if isinstance(value, dict):
        return {key: _whole(inner) for key, inner in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


if __name__ == "__main__":
    (CHART / "values.schema.json").write_text(schema(), encoding="utf-8")
    (CHART / "values.yaml").write_text(values_yaml(), encoding="utf-8")
    (CHART / "files" / "rules.json").write_text(rules(), encoding="utf-8")
