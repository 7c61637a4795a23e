"""Stuck containers of dead agents are swept, those of living ones and of others never. The engine is a fake."""

import multiprocessing

import pytest

from madrun.node.orphans import alive, sweep


class FakeEngine:
    def __init__(self, *folders):
        self.folders, self.removed, self.asked = folders, [], None

    def containers(self, all, filters):
        self.asked = (all, filters)
        return [
            {
                "Id": f"id{index}",
                "Names": [f"/madrun-r{index}-n0"],
                "Mounts": [{"Source": str(folder / "box"), "Destination": "/madrun"}] if folder else [],
            }
            for index, folder in enumerate(self.folders)
        ]

    def remove_container(self, name, force, v):
        assert force
        self.removed.append(name)


def _die_holding(folder):
    context = alive(folder)
    context.__enter__()
    multiprocessing.current_process().kill()


@pytest.fixture
def dead(tmp_path):
    """A node's directory whose agent was killed."""
    folder = tmp_path / "dead"
    folder.mkdir()
    agent = multiprocessing.get_context("fork").Process(target=_die_holding, args=(folder,))
    agent.start()
    agent.join(10)
    agent.close()
    return folder


def test_a_container_of_a_dead_agent_is_removed_and_named(dead):
    engine = FakeEngine(dead)
    assert sweep(engine, 1000) == ["madrun-r0-n0"]
    assert engine.removed == ["id0"]


def test_a_container_of_a_living_agent_is_left_alone(tmp_path):
    folder = tmp_path / "living"
    folder.mkdir()
    engine = FakeEngine(folder)
    with alive(folder):
        assert sweep(engine, 1000) == []
    assert engine.removed == []


def test_a_container_that_cannot_be_told_is_left_alone(tmp_path):
    engine = FakeEngine(tmp_path / "gone", None)
    assert sweep(engine, 1000) == []


def test_only_stuck_containers_of_this_user_are_looked_at(dead):
    engine = FakeEngine()
    sweep(engine, 1234)
    assert engine.asked == (True, {"label": ["madrun.owner=1234"], "status": ["created", "paused"]})


def test_an_agent_that_ends_in_order_leaves_no_lock(tmp_path):
    with alive(tmp_path):
        assert list(tmp_path.iterdir()) != []
    assert list(tmp_path.iterdir()) == []
