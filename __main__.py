"""The Pulumi program: read the stack's settings, build the fleet, export what it offers."""

from pathlib import Path

import pulumi

from components.fleet import TritonFleet, TritonFleetArgs
from components.stack.load import load

folder = Path(__file__).parent
fleet = TritonFleet("fleet", TritonFleetArgs(settings=load(folder), project_dir=folder))
for name, value in fleet.exports.items():
    pulumi.export(name, value)
