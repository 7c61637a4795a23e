"""Who waits for others at the end of a run says so, and further signals end it."""

import time

from madrun.node import impatience
from madrun.node.channel.link import SoloLink
from madrun.node.impatience import impatient, waiting_for_others
from madrun.node.joining.join import Party
from madrun.node.task import Interrupt


class Lines(list):
    def line(self, text):
        self.append(text)


def until(condition):
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


def test_each_step_is_taken_once_at_its_signal():
    taken, interrupt = [], Interrupt()
    with impatient(interrupt, {2: lambda: taken.append(2), 3: lambda: taken.append(3)}):
        interrupt.set("SIGINT came")
        time.sleep(0.15)
        assert taken == []
        interrupt.set("SIGINT came")
        until(lambda: taken == [2])
        interrupt.set("SIGINT came")
        until(lambda: taken == [2, 3])
        time.sleep(0.15)
    assert taken == [2, 3]


def test_whom_it_waits_for_is_said_and_how_to_go_on(monkeypatch):
    monkeypatch.setattr(impatience, "_NEWS_AFTER_S", 0.0)
    lines = Lines()
    with waiting_for_others(Party(SoloLink({})), Interrupt(), lines):
        until(lambda: lines)
    (line,) = lines
    assert line.startswith("waiting for node 0 to come to the end of the run (")
    assert line.endswith("the third Ctrl-C ends the wait")
