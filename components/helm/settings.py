"""Settings of where third-party charts come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from components.base.errors import Problem
from components.base.model import Model

if TYPE_CHECKING:
    from collections.abc import Iterator


class ChartSettings(Model):
    """Where third-party charts come from. One setting applies to all of them, as an air-gapped cluster needs."""

    source: Literal["upstream", "oci", "folder"] = "upstream"
    """``upstream``: the publishers' own repositories. ``oci``: a registry that mirrors them. ``folder``: a folder on this machine."""
    location: str | None = None
    """``oci``: registry path such as ``oci://registry.example.com/charts``. ``folder``: folder with a subfolder or .tgz per chart."""

    def _problems(self) -> Iterator[Problem]:
        text = None
        if self.source == "upstream" and self.location is not None:
            text = f"({self.location}) would be ignored: source is upstream. Set source to oci or folder, or remove location."
        elif self.source != "upstream" and not self.location:
            text = f"is missing: source is {self.source}, so no chart could be found. Add the location."
        elif self.source == "oci" and self.location is not None and not self.location.startswith("oci://"):
            text = f"({self.location}) must start with oci://: Helm would look for a folder. Write it as oci://registry.example.com/charts."
        if text is not None:
            yield Problem(at=("location",), text=text, also=(("source",),))
