"""The Pulumi program: read the stack's settings, build the fleet, export what it offers."""

from pathlib import Path

import pulumi

from components.fleet import TritonFleet, TritonFleetArgs
from components.stack.load import load

fleet = TritonFleet("fleet", TritonFleetArgs(settings=load(), project_dir=Path(__file__).parent))
for name, value in fleet.exports.items():
    pulumi.export(name, value)
