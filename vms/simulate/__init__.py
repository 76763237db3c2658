"""The camera simulator: our RTSP server fed from real footage, with faults on command.

`running(SimulatorOptions(...))` for tests, `simulate` for the command line, `prepare` and `prepare_small` for footage.
"""

from vms.simulate.camera import CameraScript
from vms.simulate.footage import Footage, prepare, prepare_small, with_sub
from vms.simulate.options import SimulatorOptions
from vms.simulate.quirks import MALICE, QUIRKS, Quirk
from vms.simulate.simulator import Simulator, SimulatorState, StreamState, running, simulate

__all__ = [
    "MALICE",
    "QUIRKS",
    "CameraScript",
    "Footage",
    "Quirk",
    "Simulator",
    "SimulatorOptions",
    "SimulatorState",
    "StreamState",
    "prepare",
    "prepare_small",
    "running",
    "simulate",
    "with_sub",
]
