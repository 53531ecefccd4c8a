"""The Pulumi program: read the stack's settings, build the fleet, export what it offers."""

import gc
from pathlib import Path

import pulumi

# Nearly all objects are the SDKs' classes, and live until the end. Python would look through them for garbage while they grow, and once
# more before it exits: a third of what a preview costs. They are declared without that, and then left out of it.
gc.disable()

from components.debuglog import gather_debug_messages  # noqa: E402  # after the line above
from components.fleet import TritonFleet, TritonFleetArgs  # noqa: E402  # as above
from components.settings.load import load  # noqa: E402  # as above

gather_debug_messages()
fleet = TritonFleet("fleet", TritonFleetArgs(settings=load(), project_dir=Path(__file__).parent))
for key, value in fleet.exports.items():
    pulumi.export(key, value)

gc.freeze()
gc.enable()
