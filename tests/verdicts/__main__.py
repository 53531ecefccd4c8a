"""Compare verdicts: ``python -m tests.verdicts FOLDER``. Exits with 1 if it finds an unexplained difference.

Triton's verdicts are kept in ``--state``: a later run asks the server only about repositories that are new or have changed.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from local.images import box, build_all
from local.paths import cache_root
from local.progress import TerminalReporter, about
from local.toolchain import Toolchain
from tests.unit.tritonserver import IMAGE
from tests.verdicts import judges, report, roots

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.verdicts.judges import Verdict
    from tests.verdicts.roots import Root

_SAY_EVERY_S: Final = 10.0


class Comparison:
    """Judges repositories one by one. Everything that it writes is in ``work``, except the state."""

    def __init__(
        self,
        image: Callable[[], box.Box],
        work: Path,
        state: Path,
        ours: Callable[[Path, frozenset[str]], dict[str, list[str]]] = judges.ours,
    ) -> None:
        self._image, self._work, self._state, self._ours = image, work, state, ours
        self._library = roots.make_library(work)
        self._known: dict[str, dict[str, str]] = {}
        for line in state.read_text(encoding="utf-8").splitlines() if state.exists() else ():
            with contextlib.suppress(json.JSONDecodeError):  # an interrupted run's last line
                self._known |= json.loads(line)

    def verdicts(self, root: Root) -> list[Verdict]:
        """Both verdicts of each model of a repository."""
        with tempfile.TemporaryDirectory(dir=self._work) as name:
            work = Path(name)
            work.chmod(0o755)
            copied = work / "repository"
            roots.copy(root, copied)
            names = roots.backends(copied)
            digest = hashlib.sha256()
            for path in sorted(copied.rglob("*")):
                digest.update(f"{path.relative_to(copied)}\0".encode(errors="surrogateescape"))
                digest.update(path.read_bytes() if path.is_file() else b"/")
            answers = self._known.get(digest.hexdigest())
            if answers is None:
                roots.install(self._library, copied, work)
                answers = judges.triton(self._image(), copied, sorted(root.models), work)
                self._keep(digest.hexdigest(), answers)
            return judges.compare(copied, root.place, self._ours(copied, names), answers)

    def _keep(self, digest: str, answers: dict[str, str]) -> None:
        self._state.parent.mkdir(parents=True, exist_ok=True)
        with self._state.open("a", encoding="utf-8") as stream:
            stream.write("\n" + json.dumps({digest: answers}))


def main(arguments: list[str]) -> int:
    """Compare, print the report, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.verdicts", description="Compare verdicts on models with those of a real tritonserver."
    )
    parser.add_argument("folder", type=Path, help="folder with model repositories at any depth; nothing in it is changed")
    parser.add_argument("--each", action="store_true", help="judge each config.pbtxt also outside its repository")
    parser.add_argument("--limit", type=int, help="judge at most this number of repositories")
    parser.add_argument("--state", type=Path, default=Path("out/verdicts.jsonl"), help="Triton's verdicts of earlier runs")
    parser.add_argument("--details", type=Path, help="write both verdicts of every model to this JSON Lines file")
    options = parser.parse_args(arguments)
    found = roots.find(options.folder, each=options.each)[: options.limit]
    print(f"{sum(len(root.models) for root in found)} models in {len(found)} repositories below {options.folder}", flush=True)
    verdicts: list[Verdict] = []
    began = said = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="triton-fleet-verdicts-") as name:
        work = Path(name)
        work.chmod(0o755)
        made: list[box.Box] = []

        def image() -> box.Box:
            if not made:
                reporter = TerminalReporter()
                (built,) = build_all(Toolchain(cache_root(), reporter), cache_root(), reporter, [IMAGE])
                made.append(box.unpack(built.path, work / "image", mounts=["/models"]))
            return made[0]

        comparison = Comparison(image, work, options.state)
        try:
            for number, root in enumerate(found, start=1):
                verdicts += comparison.verdicts(root)
                now = time.monotonic()
                if now - said >= _SAY_EVERY_S or number == len(found):
                    said = now
                    left = (now - began) / number * (len(found) - number)
                    differ = sum(not verdict.agrees for verdict in verdicts)
                    print(f"{number}/{len(found)} repositories, {len(verdicts)} models, {differ} differ; {about(left)} left", flush=True)
        except KeyboardInterrupt:
            print(f"Interrupted. Run again to continue: {options.state} has Triton's verdicts so far.", flush=True)
    if options.details:
        options.details.write_text("".join(f"{json.dumps(vars(verdict))}\n" for verdict in verdicts), encoding="utf-8")
    print(report.text(verdicts))
    return int(report.unexplained(verdicts))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
