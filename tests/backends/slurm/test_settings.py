"""What the context says of SLURM."""

import pytest

from madrun.backends.slurm.settings import read
from madrun.errors import ContextError

ALLOCATION = {"SLURM_JOB_ID": "5", "SLURM_JOB_NUM_NODES": "3"}


def test_nodes_are_those_asked_for_then_the_keys_then_the_allocations_then_one():
    assert read({}, 2, ALLOCATION)[1] == 2
    assert read({"nodes": 2}, None, ALLOCATION)[1] == 2
    assert read({}, None, ALLOCATION)[1] == 3
    assert read({}, None, {})[1] == 1


def test_more_nodes_than_the_allocation_has_are_refused():
    with pytest.raises(ContextError, match=r"slurm.nodes: found 4 inside job 5, which has 3; allowed: 1 to 3"):
        read({}, 4, ALLOCATION)


def test_two_numbers_of_nodes_are_refused():
    with pytest.raises(ContextError, match=r"slurm.nodes: found 3, but 2 nodes were asked for"):
        read({"nodes": 3}, 2, {})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"partiton": "x"}, r"slurm.partiton: unknown key \(did you mean 'partition'\?\)"),
        ({"time": "1x"}, r"slurm.time: found '1x', allowed: text as sbatch takes it"),
        ({"time": 5400}, r"slurm.time: found the number 5400, .* put it in quotes"),
        ({"gpus_per_node": 0}, r"slurm.gpus_per_node: found 0, allowed: a number from 1, or TYPE:NUMBER"),
        ({"gpus_per_node": "a:b"}, r"slurm.gpus_per_node: found 'a:b'"),
        ({"gpus": "all"}, r"slurm.gpus: found 'all'"),
        ({"nodelist": "a b"}, r"slurm.nodelist: found 'a b', allowed: one word"),
        ({"mem": "lots"}, r"slurm.mem: found 'lots'"),
        ({"comment": "a\nb"}, r"slurm.comment: found a line break"),
        ({"sbatch": ["--x=1", "-n 3"]}, r"slurm.sbatch.1: found '-n 3'"),
        ({"srun": ["--output=x"]}, r"slurm.srun.0: found '--output=x', which madrun sets itself"),
        ({"srun": ["-N4"]}, r"slurm.srun.0: found '-N4', allowed: an option of srun as one word"),
        ({"pending_limit": "soon"}, r"slurm.pending_limit: found 'soon'"),
        ({"poll_s": 0}, r"slurm.poll_s: found 0"),
        ({"signal_s": -1}, r"slurm.signal_s: found -1"),
    ],
)
def test_a_wrong_value_names_its_key_and_what_is_allowed(values, message):
    with pytest.raises(ContextError, match=message):
        read(values, 1, {})


def test_all_wrong_values_are_named_at_once():
    with pytest.raises(ContextError) as error:
        read({"time": "1x", "mem": "lots", "qos": "a b"}, 1, {})
    assert [line.split(":")[0] for line in str(error.value).splitlines()] == ["slurm.qos", "slurm.time", "slurm.mem"]


def test_keys_of_mad_are_taken_and_those_without_effect_are_named():
    values = {
        "output_dir": "./slurm_results",
        "enable_node_check": True,
        "network_interface": "ib0",
        "modules": ["rocm"],
    }
    settings, _ = read(values, 1, {})
    assert [note.split()[0] for note in settings.notes] == ["slurm.output_dir", "slurm.enable_node_check"]
    assert (settings.network_interface, settings.modules) == ("ib0", ("rocm",))


def test_one_line_may_stand_without_a_list_and_a_number_where_text_is_meant():
    settings, _ = read({"sbatch": "--licenses=a", "account": 12345, "mem": 0, "gpus_per_node": 8}, 1, {})
    assert (settings.sbatch, settings.account, settings.mem) == (("--licenses=a",), "12345", "0")
    assert str(settings.gpus_per_node) == "8"
