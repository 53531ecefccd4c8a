"""The two judges of a copied repository: the validation, and a real tritonserver whose backends do nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from components.base.errors import FleetError
from components.repository.scan.folder import scan
from components.repository.validation import Deployment, validate
from tests.unit.tritonserver import tritonserver
from tests.verdicts import roots

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from local.images import box

_IMAGE: Final = "a custom image"
_POLL: Final = re.compile(r"Poll failed for model directory '([^']+)': (.*)")
_WITHOUT_ANSWER_S: Final = 20.0
"""Longest wait for a model, in seconds: a backend that does nothing takes milliseconds."""
SERVES: Final = ""
DIES: Final = "(the server ends)"
HANGS: Final = f"(no answer within {_WITHOUT_ANSWER_S:.0f} s)"


def ours(root: Path, backends: frozenset[str]) -> dict[str, list[str]]:
    """Why an upload is refused, by model; warnings are left out."""
    found: dict[str, list[str]] = {path.name: [] for path in root.iterdir()}
    for problem in validate(root, None, [Deployment(key="triton-fleet:serving[0]", image=_IMAGE, gpus=0, backends=backends)]):
        if problem.fatal:
            found[problem.file.split("/")[0]].append(str(problem))
    for name, problems in found.items():
        try:
            scan(root, [name])
        except FleetError as error:
            problems.extend(problem.text.replace(f"{root}/", "") for problem in error.problems)
    return found


def triton(image: box.Box, root: Path, models: Sequence[str], work: Path) -> dict[str, str]:
    """Why Triton refuses a model, by model; `SERVES` where it loads.

    A server that ends or does not answer is replaced by another for the models that are left.

    Args:
        image: tritonserver's, with a mount at ``/models``.
        root: the repository, in ``work``.
        models: the models to load, one after another.
        work: is mounted at ``/models`` and has folders ``backends`` and ``agents`` (`roots.install`).
    """
    found: dict[str, str] = {}
    flags = ("--model-control-mode=explicit", "--backend-directory=/models/backends", "--repoagent-directory=/models/agents")
    while left := [name for name in models if name not in found]:
        with tritonserver(image, work / "log", f"/models/{root.name}", *flags, models=work, until="live") as server:
            for name in left:
                try:
                    is_loaded, answer = server.ask(f"repository/models/{name}/load", b"{}", timeout_s=_WITHOUT_ANSWER_S)
                except TimeoutError:
                    found[name] = HANGS
                    break
                except OSError:
                    found[name] = DIES
                    break
                found[name] = SERVES if is_loaded else str(answer.get("error"))
            reasons = dict(_POLL.findall(server.log.when(bool, "what the server did")))
        found |= {name: reasons[name] for name in left if name in reasons and "poll" in found.get(name, "")}
    return found


UNSEEN: Final[Mapping[str, re.Pattern[str]]] = {
    "opens no file": re.compile(
        r'^(triton-fleet:repository: )?[^/\s]+/\d+[/ ]|parameters\["EXECUTION_ENV_PATH"\]|agents\[\d+\]\.parameters'
    ),
    "has no rules of its own": re.compile(r", but backend (?!is )|parameters\[\"[^\"]*\"\] \(.*\) is unknown"),
}
"""What a backend that does nothing can't confirm, and our problems of this kind."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Both verdicts on one model, and those on the models of its steps."""

    model: str
    place: str
    ours: tuple[str, ...]
    """Problems that the server can confirm."""
    unseen: tuple[str, ...]
    """Problems that a server whose backends do nothing can't see (`UNSEEN`)."""
    triton: str
    filled: tuple[str, ...]
    """What complete backends fill in (`roots.fills`)."""

    @property
    def agrees(self) -> bool:
        """Whether both serve the model, or both refuse it."""
        return bool(self.ours) == (self.triton != SERVES)


def compare(root: Path, place: str, ours_of: Mapping[str, Sequence[str]], triton_of: Mapping[str, str]) -> list[Verdict]:
    """Both verdicts of each model of a copied root. Triton loads no ensemble without its models, so their problems are the ensemble's."""
    found = []
    steps, fills = roots.steps(root), roots.fills(root)
    for name, answer in triton_of.items():
        pending, seen = [name], dict[str, None]()
        while pending:
            if (model := pending.pop()) not in seen:
                seen[model] = None
                pending.extend(steps.get(model, ()))
        problems = [problem for model in seen for problem in ours_of.get(model, ())]
        unseen = tuple(problem for problem in problems if any(pattern.search(problem) for pattern in UNSEEN.values()))
        seen_problems = tuple(problem for problem in problems if problem not in unseen)
        filled = tuple(sorted({cell for model in seen for cell in fills.get(model, ())}))
        found.append(Verdict(model=name, place=place, ours=seen_problems, unseen=unseen, triton=answer, filled=filled))
    return found
