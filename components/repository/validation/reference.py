"""Writes the table of backends of docs/model-validation.md: `python -m components.repository.validation.reference`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from components.repository.validation.backends import BACKENDS, Backend

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PAGE: Final = Path(__file__).resolve().parents[3] / "docs" / "model-validation.md"
BEGIN: Final = "<!-- backends: written by `python -m components.repository.validation.reference` -->"
END: Final = "<!-- end of backends -->"
_ADDS: Final = {"": "none", "empty": "all, if none is listed", "missing": "those not listed"}
_BATCH: Final = {"": "no", "with a side": "if no inputs or no outputs are listed", "always": "yes"}


def page(text: str) -> str:
    """Return the page ``text`` with a new table. Raises ValueError if a marker is missing."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{table(BACKENDS)}\n\n{END}{after}"


def table(rows: Iterable[Backend]) -> str:
    """Return the table of backends as Markdown."""
    head = (
        *("backend", "opens in a version folder", "adds inputs", "adds outputs", "completes listed tensors"),
        *("sets max_batch_size", "accepts", "images", "source"),
    )
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *(_cells(row) for row in rows)))


def _cells(row: Backend) -> Iterator[str]:
    yield f"`{row.name}`" + (f", `{row.platform}`" if row.platform else "") + (f', runtime `"{row.runtime}"`' if row.runtime else "")
    names = row.by_parameter[2].values() if row.by_parameter else filter(None, row.files)
    opened = " or ".join(f"`{name}`" for name in names)
    if row.folder:
        opened += f" ({'a folder' if row.folder == 'must' else 'or a folder'}"
        opened += f" with {' or '.join(f'`{name}`' for name in row.inside)})" if row.inside else ")"
    yield opened + (", whatever `default_model_filename` says" if row.files and not row.renamed else "") or "nothing"
    suffix = ", by its code" if row.by_code else ""
    yield _ADDS[row.inputs] + suffix
    yield _ADDS[row.outputs] + suffix
    yield ("data type and dims" + suffix) if row.completes else "no"
    yield _BATCH[row.batch] + (suffix if row.batch else "")
    limits = [" or ".join(f"`{kind}`" for kind in row.kinds)] if row.kinds else []
    limits += [] if row.max_batch_size is None else [f"`max_batch_size: {row.max_batch_size}` only"]
    limits += [f"`{name}`: {', '.join(values)}" for name, values in row.values.items()]
    limits += ["at least one output"] if row.needs_outputs else []
    limits += [f"one of {', '.join(f'`{name}`' for name in names)}" for names in row.required]
    yield "; ".join(limits) or "-"
    since = " since {}.{:02}".format(*row.since) if row.since else ""
    yield (", ".join(f"`{image}`" for image in row.images) or "as above") + since
    yield row.source


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"{PAGE} written\n")
