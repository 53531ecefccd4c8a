"""Reads the published release that ``repository.release`` selects instead of the model folder."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from components.base.errors import FleetError
from components.repository.release import Catalog
from components.repository.release.layout import tree_name
from components.repository.scan.needs import needs
from components.repository.scan.plan import parse_sums
from components.repository.scan.plan import plan as plan_of
from components.repository.store.objects import SHORT_PAUSES_S, in_parallel, patiently
from components.repository.store.select import open_store, place_of

if TYPE_CHECKING:
    from components.repository.scan.plan import Plan
    from components.repository.settings import RepositorySettings


def published_plan(settings: RepositorySettings) -> Plan:
    """Return the plan of the published release that ``settings.release`` names.

    Raises:
        FleetError: When no release or several match, or the store fails.
    """
    wanted = settings.release or ""
    catalog = Catalog(open_store(place_of(settings)), settings.prefix, "")
    found = patiently(catalog.manifests, SHORT_PAUSES_S)
    matching = [manifest for manifest in found if manifest.digest.startswith(wanted) or manifest.name == wanted]
    if len(matching) != 1:
        names = ", ".join(f"{manifest.name} ({manifest.digest[:12]})" for manifest in (matching or found)[:10])
        what = "is not in the bucket" if not matching else f"matches {len(matching)} releases"
        raise FleetError(
            f"triton-fleet:repository.release ({wanted}) {what}: nothing was changed. "
            f"Set it to a release under {catalog.store.url(settings.prefix)}: {names or 'none'}."
        )
    sums = patiently(lambda: catalog.store.get_bytes(catalog.sums_key(matching[0].digest)), SHORT_PAUSES_S)
    plan = plan_of(parse_sums(sums or b""))
    if plan.digest != matching[0].digest:
        raise FleetError(
            f"triton-fleet:repository.release ({wanted}) is damaged: its list of files was modified after publication. "
            "Choose another release, or remove the key."
        )
    return plan


def published_needs(settings: RepositorySettings, plan: Plan) -> dict[str, tuple[str, ...]]:
    """`scan.needs.needs` of a release in the bucket. Raises FleetError when the store fails."""
    catalog = Catalog(open_store(place_of(settings)), settings.prefix, "")
    paths = {file.path for file in plan.files}
    configs = [model for model in plan.models if f"{model}/config.pbtxt" in paths]

    def fetch(model: str) -> bytes:
        key = f"{catalog.tree_root(tree_name(model, plan.models[model]))}{model}/config.pbtxt"
        return catalog.store.get_bytes(key) or b""

    with tempfile.TemporaryDirectory(prefix="triton-fleet-") as folder:
        for model, content in zip(configs, patiently(lambda: in_parallel(fetch, configs), SHORT_PAUSES_S), strict=True):
            path = Path(folder) / model / "config.pbtxt"
            path.parent.mkdir()
            path.write_bytes(content)
        return needs(Path(folder), plan.models)
