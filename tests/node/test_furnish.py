"""What a runner reads on this node."""

import hashlib
from pathlib import Path

import pytest

from madrun.errors import NodesError
from madrun.node.furnish import place_runner_files

TEXT = "distributed_type: FSDP\n"
PLANNED = f"runner-config.yaml:{hashlib.sha256(TEXT.encode()).hexdigest()}"


@pytest.fixture
def place(tmp_path, make_job, make_node):
    """Lays out for this runner, with a configuration file of this text; what then lies in the box."""

    def placed(runner, text=TEXT, planned=PLANNED, box="box", **job):
        config = tmp_path / "config.yaml"
        if text is not None:
            config.write_text(text)
        (tmp_path / box).mkdir()
        node = make_node(runner_config=str(config))
        place_runner_files(tmp_path / box, make_job(runner=runner, runner_config=planned, **job), node)
        return {path.name: path.read_text() for path in (tmp_path / box).iterdir()}

    return placed


def test_a_runner_that_reads_nothing_gets_nothing(place):
    assert place("torchrun", planned="") == {}


def test_the_users_file_is_copied_as_it_was_planned(place):
    assert place("accelerate") == {"runner-config.yaml": TEXT}


def test_deepspeeds_nodes_stand_beside_it(place):
    assert place("deepspeed", planned="", nnodes=2, nproc_per_node=4) == {
        "deepspeed-hosts": "node-0 slots=4\nnode-1 slots=4\n"
    }


@pytest.mark.parametrize(
    ("text", "words"), [("other: 1\n", "has changed since"), (None, "cannot be read any more: No")]
)
def test_a_file_that_is_no_longer_that_of_the_plan_is_refused(place, text, words):
    with pytest.raises(NodesError, match=f"multi_node_args.CONFIG_FILE: /.*config.yaml {words}"):
        place("accelerate", text)


def test_a_path_that_scripts_would_split_is_refused_where_the_runner_is_told_of_it(place):
    with pytest.raises(NodesError, match="my box holds a blank.*name a --results directory without blanks"):
        place("deepspeed", box="my box", runtime="process")


def test_in_a_container_the_box_has_another_path(place):
    assert Path(next(iter(place("deepspeed", box="my box", runtime="docker")))).name == "deepspeed-hosts"
