"""What the metrics of a recorder worker say of streams that are switched off."""

from __future__ import annotations

from recorder.worker import forget_state, show_host_clock
from vms.metrics import Metrics
from vms.ntp import HostClock


def test_a_stream_that_is_switched_off_has_no_state_left() -> None:
    metrics = Metrics.create()
    for camera in ("1", "2"):
        metrics.recording.labels(camera, "main").set(1)
        metrics.last_unit_timestamp.labels(camera, "main").set(1_700_000_000)
        metrics.access_units.labels(camera, "main").inc(25)
    forget_state(metrics, "2", "main")
    forget_state(metrics, "2", "main")  # also where nothing is left, and where an offset was never measured
    lines = metrics.page().decode().splitlines()
    assert [line for line in lines if line.startswith("stroz_recording{")] == [
        'stroz_recording{camera="1",stream="main"} 1.0'
    ]
    assert not [line for line in lines if line.startswith("stroz_last_access") and 'camera="2"' in line]
    assert 'stroz_access_units_total{camera="2",stream="main"} 25.0' in lines


def test_the_machines_clock_is_shown_as_far_as_it_is_known() -> None:
    metrics = Metrics.create()
    show_host_clock(metrics, HostClock(True, "kernel", -250_000, 1_500_000))
    page = metrics.page().decode()
    assert "stroz_host_clock_synchronised 1.0" in page
    assert "stroz_host_clock_offset_seconds -0.00025" in page
    show_host_clock(metrics, HostClock(False, "kernel"))
    page = metrics.page().decode()
    assert "stroz_host_clock_synchronised 0.0" in page
    assert "stroz_host_clock_offset_seconds" not in page
    show_host_clock(metrics, HostClock())
    assert "stroz_host_clock" not in metrics.page().decode()
