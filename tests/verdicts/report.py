"""The differences between both judges, grouped by reason."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

from tests.verdicts.judges import SERVES, UNSEEN

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tests.verdicts.judges import Verdict

_SHOWN: Final = 3
"""Models that are shown of each kind of difference."""
_KINDS: Final = 40
"""Kinds of problems that are shown of those that the server can't see."""

EXPLAINED: Final[Mapping[str, re.Pattern[str]]] = {
    "tensors": re.compile(r"model configuration is not provided for|is mapping to non-existing input|is mapped from non-existing output"),
    "types and shapes": re.compile(r"must specify '(dims|data_type)'"),
    "batch size": re.compile(r"inconsistent shape"),
}
"""What the server says where its backends do nothing, and a complete one fills in a cell of `Verdict.filled`."""


def explanation(verdict: Verdict) -> str:
    """Why both judges differ although neither is wrong; empty if this is unknown."""
    if verdict.ours:
        return ""
    found = (cell for cell, pattern in EXPLAINED.items() if cell in verdict.filled and pattern.search(verdict.triton))
    return next((f"a backend that does nothing fills in no {cell}" for cell in found), "")


def unexplained(verdicts: Iterable[Verdict]) -> bool:
    """Whether a difference has no explanation."""
    return any(not verdict.agrees and not explanation(verdict) for verdict in verdicts)


def _kind(message: str, model: str) -> str:
    """A message without names, numbers, places and remedy."""
    kind = re.sub(r"^(triton-fleet:repository: )?[^/\s]+(/config\.pbtxt|/\d+)?(:\d+)?:?[ /]", "", message)
    kind = re.sub(rf"\b{re.escape(model)}\b", "NAME", kind.split(": Triton would")[0])
    kind = re.sub(r"'[^']*'|\"[^\"]*\"|\([^)]*\)", "...", kind)
    return re.sub(r"\d+", "N", kind).strip()[:160]


def text(verdicts: Sequence[Verdict]) -> str:
    """Describe all differences, the unexplained ones first."""
    groups: dict[str, dict[str, list[Verdict]]] = defaultdict(lambda: defaultdict(list))
    for verdict in verdicts:
        if verdict.agrees:
            continue
        if why := explanation(verdict):
            groups[f"Explained: {why}"][_kind(verdict.triton, verdict.model)].append(verdict)
        elif verdict.ours:
            groups["We refuse, Triton serves"][" | ".join(sorted({_kind(message, verdict.model) for message in verdict.ours}))].append(
                verdict
            )
        else:
            groups["We accept, Triton refuses"][_kind(verdict.triton, verdict.model)].append(verdict)
    agreed = [verdict for verdict in verdicts if verdict.agrees]
    served = sum(verdict.triton == SERVES for verdict in agreed)
    lines = [f"{len(agreed)} of {len(verdicts)} verdicts agree: both serve {served} models and refuse {len(agreed) - served}."]
    for title, kinds in sorted(groups.items(), key=lambda group: (group[0].startswith("Explained"), "accept" in group[0])):
        lines += ["", f"{title}: {sum(map(len, kinds.values()))} models"]
        for kind, members in sorted(kinds.items(), key=lambda group: -len(group[1])):
            lines.append(f"  {len(members)} x {kind}")
            for verdict in members[:_SHOWN]:
                lines.append(f"      {verdict.place}: {verdict.model}")
                lines += [f"        we:     {message}" for message in verdict.ours]
                lines.append(f"        Triton: {verdict.triton.strip() or 'serves it'}")
    for reason, pattern in UNSEEN.items():
        found = [(message, verdict.model) for verdict in verdicts for message in verdict.unseen if pattern.search(message)]
        lines += ["", f"Not compared, because a backend that does nothing {reason}: {len(found)} problems"]
        lines += [f"  {count} x {kind}" for kind, count in Counter(_kind(*each) for each in found).most_common(_KINDS)]
    return "\n".join(lines)
