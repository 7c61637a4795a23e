"""A saved plan's part whose repository lies elsewhere now."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.planning.elsewhere import at_repository
from madrun.spec.data import Fetch
from madrun.spec.mad import Entry
from madrun.spec.plan import HostProcess, Mount


@pytest.fixture(scope="session")
def node(make_node, container):
    """One that names its repository, /old, in all ways."""
    return replace(
        make_node(),
        repository="/old",
        card_folder="/old/models/one",
        data_sources={"a": "/old/data/a", "b": "/data/b", "c": "/older/c"},
        mirrors={"a": "/old/mirror"},
        mirror_root="/mirror",
        placed={"tool.py": "/old/tools/tool.py"},
        runner_config="/old/runner.yaml",
        checkout=(Entry(name="scripts", source="/old/scripts", is_folder=True),),
        fetches={"a": (Fetch(provider="local", place="/old/a"), Fetch(provider="nas", place="/old/a"))},
        container=replace(container, workdir="/old/w", mounts=(Mount(source="/old/data", target="/old/data"),)),
        process=HostProcess(command=("bash", "/old/x"), workdir="/w", env={"DATA": "/old/data/a", "SAID": "/old/said"}),
    )


def test_paths_of_this_host_move_and_those_in_a_container_stay(node, make_job):
    moved = at_repository(node, make_job(env={"SAID": "/old/said"}), "/new/place")
    assert (moved.repository, moved.card_folder) == ("/new/place", "/new/place/models/one")
    assert moved.data_sources == {"a": "/new/place/data/a", "b": "/data/b", "c": "/older/c"}
    assert (moved.mirrors, moved.mirror_root) == ({"a": "/new/place/mirror"}, "/mirror")
    assert moved.placed == {"tool.py": "/new/place/tools/tool.py"}
    assert moved.runner_config == "/new/place/runner.yaml"
    assert [entry.source for entry in moved.checkout] == ["/new/place/scripts"]
    assert [way.place for way in moved.fetches["a"]] == ["/new/place/a", "/old/a"]
    assert moved.container.mounts == (Mount(source="/new/place/data", target="/old/data"),)
    assert moved.container.workdir == "/old/w"
    assert moved.process.env == {"DATA": "/new/place/data/a", "SAID": "/old/said"}


@given(place=st.text("ab/", min_size=1).map(lambda text: f"/{text}".rstrip("/") or "/x"))
def test_a_move_and_the_way_back_leave_it_as_it_was(node, make_job, place):
    job = make_job(env={"SAID": "/old/said"})
    away = replace(node, data_sources={"a": "/old/data/a"}, mirror_root="")
    assert at_repository(at_repository(away, job, place), job, "/old") == away
