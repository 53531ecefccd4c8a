"""What an upload will send, by model, for a preview."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from components.repository.progress import shown_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from components.repository.release.layout import Tree
    from components.repository.scan.plan import Plan, PlannedFile

_MOST: Final = 30
"""Most models that are listed."""


def changes(plan: Plan, before: Mapping[str, str], trees: Mapping[str, Tree | None]) -> list[str]:
    """Lines for models that are new, changed and gone.

    Args:
        plan: The release to publish.
        before: Digest of each model in the release that is served.
        trees: The trees of those that change, where they could be read.
    """
    members: dict[str, list[PlannedFile]] = {model: [] for model in plan.models}
    for file in plan.files:
        members[file.path.split("/", 1)[0]].append(file)
    lines = [*_models(plan, members, before, trees), *(f"- {model}: gone" for model in sorted(before.keys() - plan.models.keys()))]
    same = sum(before.get(model) == digest for model, digest in plan.models.items())
    if len(lines) > _MOST:
        lines = [*lines[:_MOST], f"and {len(lines) - _MOST} more"]
    return [*lines, *([f"{same} unchanged"] if same else [])]


def _models(
    plan: Plan, members: Mapping[str, list[PlannedFile]], before: Mapping[str, str], trees: Mapping[str, Tree | None]
) -> Iterator[str]:
    for model, digest in plan.models.items():
        files = members[model]
        total = f"{_files(len(files))}, {shown_bytes(sum(file.size for file in files))}"
        tree = trees.get(model)
        if model not in before:
            yield f"+ {model}: {total} to send"
        elif before[model] != digest and tree is None:
            yield f"~ {model}: changed, {total} in all"
        elif before[model] != digest and tree is not None:
            old = {file.path: file.sha256 for file in tree.files}
            contents = set(old.values())
            sent = [file for file in files if file.sha256 not in contents]
            new = sum(file.path not in old for file in files)
            changed = sum(file.path in old and old[file.path] != file.sha256 for file in files)
            gone = len(old.keys() - {file.path for file in files})
            what = ", ".join(f"{count} {kind}" for count, kind in ((new, "new"), (changed, "changed"), (gone, "gone")) if count)
            yield f"~ {model}: {what} of {_files(len(files))}, {shown_bytes(sum(file.size for file in sent))} to send"


def _files(count: int) -> str:
    return f"{count} file{'' if count == 1 else 's'}"
