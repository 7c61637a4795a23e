"""Where the time of a run went."""

import time

import pytest

from madrun.node.timings import Timings


def test_phases_add_up_in_order_of_first_entry():
    timings = Timings()
    timings.add("image", 1.0)
    timings.add("script", 2.0)
    timings.add("image", 0.5)
    assert timings.seconds == {"image": 1.5, "script": 2.0}
    assert list(timings.seconds) == ["image", "script"]


def test_a_phase_is_measured_also_when_it_fails():
    timings = Timings()
    with pytest.raises(KeyError), timings.phase("files"):
        time.sleep(0.01)
        raise KeyError
    assert timings.seconds["files"] >= 0.01
