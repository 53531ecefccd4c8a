"""Settings of where third-party charts come from."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from components.base.errors import FleetError, Problem
from components.base.model import Model


class ChartSettings(Model):
    """Where third-party charts come from. One key moves all of them, as an air-gapped cluster needs."""

    source: Literal["upstream", "oci", "folder"] = "upstream"
    """``upstream``: the publishers' own repositories. ``oci``: a registry that mirrors them. ``folder``: files on this machine."""
    location: str | None = None
    """``oci``: registry path such as ``oci://registry.example.com/charts``. ``folder``: path with one folder or .tgz a chart."""

    @model_validator(mode="after")
    def _location_as_the_source_needs_it(self) -> Self:
        text = None
        if self.source == "upstream" and self.location is not None:
            text = f"({self.location}) would be ignored: source is upstream, the publishers' own repositories. Set source to oci or folder."
        elif self.source != "upstream" and not self.location:
            text = f"is missing: charts.source is {self.source}, so there is nowhere to take charts from. Add the location."
        elif self.source == "oci" and self.location is not None and not self.location.startswith("oci://"):
            text = (
                f"({self.location}) is no OCI registry path: Helm would look for a folder. Write it as oci://registry.example.com/charts."
            )
        if text is not None:
            raise FleetError(Problem(at=("location",), text=text, also=(("source",),)))
        return self
