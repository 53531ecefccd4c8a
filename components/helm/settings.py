"""Settings of where third-party charts come from."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal

from components.base.errors import Problem
from components.base.model import Model

if TYPE_CHECKING:
    from collections.abc import Iterator


_REGISTRY: Final = re.compile(r"oci://[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*/?")


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
        elif self.source == "oci" and self.location is not None and _REGISTRY.fullmatch(self.location) is None:
            text = (
                f"({self.location}) must start with oci:// and name a registry: Helm would look for a folder or another host. Write it "
                "as oci://registry.example.com/charts, without user, tag or query."
            )
        if text is not None:
            yield Problem(at=("location",), text=text, also=(("source",),))
