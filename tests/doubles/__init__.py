"""Doubles of cloud plugins: programs that speak Pulumi's provider protocol to the real engine, over a cloud that runs on this machine.

`install` puts one where the engine looks for the official plugin. What it does is steered and seen through one folder, which the engine's
environment names (`FOLDER_VARIABLE`): delays (`clock`), failures on demand and the journal of what happened when (`faults`).
"""

from __future__ import annotations

from typing import Final

FOLDER_VARIABLE: Final = "TRITON_FLEET_DOUBLES"
"""Environment variable with the folder that the doubles of one run share: faults, journal, what the cloud behind them does not keep."""
PACE_VARIABLE: Final = "TRITON_FLEET_DOUBLES_PACE"
"""Environment variable with the length of a second of the real clouds, in seconds; 0 (all at once) where it is not set."""
