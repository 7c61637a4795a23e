"""A run on three nodes that is ended at any point of its life, from join to last file, leaves nothing behind."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from bed import Bed
from e2e_parts import until
from three_nodes import Node, Started

pytestmark = [pytest.mark.e2e, pytest.mark.docker]
# Ends by itself, and leaves a child that does not.
SHORT = """
setsid bash -c 'trap "" TERM INT HUP; while :; do sleep 1; done' bash MARK &
sleep 0.3
for number in {1..300}; do echo $number >file-$number; done
echo performance: 1 speed
"""
GRACE = {"grace": "200ms"}
# What has just been done on the victim's node, as files tell it; then seconds after the start.
EVENTS = ("", "node-{}", "node-{}/box", "node-{}/box/driver.sh", "driver", "ready", "begin", "exit", "end")
DELAYS = (0.1, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.2, 1.4, 1.6)


@pytest.fixture
def bed(three: list[Node], tmp_path: Any) -> Iterator[Bed]:
    """All three nodes, with a card of a short life."""
    made = Bed(three, f"mark-{tmp_path.name}-{time.monotonic_ns()}")
    made.add("short", SHORT)
    yield made
    made.clean()


def reached(bed: Bed, victim: int, event: str, before: set[str]) -> bool:
    runs = {path.name for path in bed.runs(victim)} - before
    if not runs:
        return False
    folder = bed.nodes[victim].folder / "results/runs" / runs.pop()
    if not event or event.startswith("node"):
        return (folder / event.format(victim)).exists()
    steps = [folder / f"node-{victim}" / name for name in ("box/steps", "steps.log")]
    return any(f" {event}" in _text(path) for path in steps)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def wait_for_point(bed: Bed, started: Sequence[Started], victim: int, point: str | float, before: set[str]) -> None:
    if isinstance(point, float):
        time.sleep(point)
        return
    deadline = time.monotonic() + 60
    while not reached(bed, victim, point, before) and started[victim].child.poll() is None:
        assert time.monotonic() < deadline, [one.output for one in started]
        time.sleep(0.001)


def end_all(started: Sequence[Started]) -> list[int]:
    """Exit codes; whoever waits in the join for a node that will not come is told to stop."""
    for one in started:
        try:
            one.wait(1.5)
        except AssertionError:
            if "[" not in one.output.partition("join\n")[2]:  # no phase after the join
                one.signal(signal.SIGTERM)
    return [one.wait(60) for one in started]


@pytest.mark.long
def test_kill_9_at_twenty_points_of_its_life_leaves_nothing(bed: Bed) -> None:
    for number, point in enumerate((*EVENTS, *DELAYS)):
        victim = number % 3
        before = {path.name for path in bed.runs(victim)}
        started = bed.start("short", context=GRACE)
        wait_for_point(bed, started, victim, point, before)
        since = time.monotonic()
        started[victim].signal(signal.SIGKILL)
        bed.gone(60, f"kill -9 of node {victim} at {point}", since, besides=("created",))
        codes = end_all(started)
        assert set(codes) <= {0, 3, 130, 137, 143}, [one.output for one in started]
        assert not any("Traceback" in one.output for one in started), [one.output for one in started]
    started = bed.start("short", context=GRACE)
    assert [one.wait(60) for one in started] == [0, 0, 0], [one.output for one in started]
    assert not bed.left()  # what was created and never started, too


@pytest.mark.parametrize(
    "number",
    [signal.SIGINT, *(pytest.param(number, marks=pytest.mark.long) for number in (signal.SIGTERM, signal.SIGHUP))],
    ids=lambda value: value.name,
)
def test_a_signal_at_any_point_of_its_life_ends_the_run_on_all_nodes(bed: Bed, number: signal.Signals) -> None:
    for index, point in enumerate(("", "node-{}/box/driver.sh", "driver", "begin", "exit", "end")):
        victim = (index + number) % 3
        before = {path.name for path in bed.runs(victim)}
        started = bed.start("short", context=GRACE)
        wait_for_point(bed, started, victim, point, before)
        since = time.monotonic()
        started[victim].signal(number)
        bed.gone(60, f"{number.name} at {point}", since)
        codes = bed.codes(started, 120)
        assert codes in ([130] * 3, [0] * 3), (point, victim, [one.output for one in started])
        if codes[0] == 130:
            assert all(f"{number.name} on node {victim}" in one.output for one in started)


@pytest.mark.parametrize("victim", [0, 1])
def test_ctrl_c_while_nodes_wait_for_one_that_is_missing_ends_them(bed: Bed, victim: int) -> None:
    started = [bed.join(rank, ("short", 29590 + victim * 4)) for rank in (0, 1)]
    until(lambda: all("waiting for: node 2" in one.output for one in started), 60, "the join of two")
    started[victim].signal(signal.SIGINT)
    codes = [one.wait(60) for one in started]
    assert codes == [130, 130], [one.output for one in started]
    assert f"SIGINT on node {victim}" in started[1 - victim].output
    assert not bed.left()


def test_ctrl_c_while_an_image_is_built_ends_the_build_and_the_run_on_all_nodes(bed: Bed) -> None:
    bed.add("built", SHORT, images={"cpu": {"dockerfile": "Dockerfile", "base": "madrun-test/job"}})
    for node in bed.nodes:
        text = 'ARG BASE_DOCKER\nFROM ${BASE_DOCKER}\nRUN ["bash", "-c", "sleep 600 & wait", "MARK"]\n'
        (node.folder / "models/built/Dockerfile").write_text(text.replace("MARK", bed.mark))
    started = bed.start("built")
    bed.until_running(started=started)
    since = time.monotonic()
    started[2].signal(signal.SIGINT)
    bed.gone(60, "the build", since)
    assert [one.wait(60) for one in started] == [130, 130, 130], [one.output for one in started]
