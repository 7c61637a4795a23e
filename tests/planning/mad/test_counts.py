"""How many GPUs a card gets, in MAD's order, and never more than there are."""

import pytest

from madrun.errors import CardError, ContextError
from madrun.planning.mad.counts import KEYS, share_of, wanted_gpus
from madrun.spec.card import Card
from madrun.spec.context import Context
from madrun.spec.facts import Accelerator, Gpu
from madrun.spec.mad import MadCard


def card(n_gpus="-1", **changes):
    values = {"name": "one", "folder": "/r", "repository": "/r", "source": "m.json", "script": "run.sh"}
    return Card(**(values | changes), mad=MadCard(short="one", dockerfile="d", n_gpus=n_gpus))


@pytest.fixture
def share(make_facts):
    def give(n_gpus="-1", gpus=8, vendor="amd", **context):
        devices = tuple(Gpu(index=i, device=f"/dev/dri/renderD{128 + i}") for i in range(gpus))
        facts = make_facts(accelerator=Accelerator(vendor=vendor, gpus=devices) if gpus else Accelerator())
        return share_of(card(n_gpus), Context(**context), facts)

    return give


def indices(share):
    return [gpu.index for gpu in share.chosen.facts.accelerator.gpus]


def test_the_keys_of_the_context_count_in_their_order_then_the_targets_then_the_card():
    said = {key: str(number) for number, key in enumerate(KEYS, 1)}
    lower = {"slurm": {"gpus_per_node": 6}, "k8s": {"gpu_count": 7}, "kubernetes": {"gpu_count": 9}}
    for number, key in enumerate(KEYS, 1):
        assert wanted_gpus(card("5"), Context(**said, **lower)) == (number, key)
        del said[key]
    for key, name in (
        ("slurm", "slurm.gpus_per_node"),
        ("k8s", "k8s.gpu_count"),
        ("kubernetes", "kubernetes.gpu_count"),
    ):
        assert wanted_gpus(card("5"), Context(**lower))[1] == name
        del lower[key]
    assert wanted_gpus(card("5"), Context()) == (5, "n_gpus")
    assert wanted_gpus(card(""), Context()) == (1, "n_gpus")
    assert wanted_gpus(card("-1"), Context()) == (None, "n_gpus")


@pytest.mark.parametrize("value", ["x", "0", "-2", "1.5"])
def test_what_is_no_count_is_refused_where_it_was_said(value):
    with pytest.raises(CardError, match="m.json: one: n_gpus: found"):
        wanted_gpus(card(value), Context())
    with pytest.raises(ContextError, match="ngpus: found .*allowed: a whole number from 1, or -1"):
        wanted_gpus(card(), Context(ngpus=value))


def test_the_first_gpus_that_are_left_get_the_work(share):
    assert indices(share()) == list(range(8))
    assert indices(share("2")) == [0, 1]
    assert indices(share("2", docker_gpus="3,5-7")) == [3, 5]
    assert share("2").chosen.note == "GPUs 0,1 of the 8 of this host (n_gpus 2)"
    assert share("2").chosen.present == 8


def test_more_than_there_are_is_refused_with_what_there_is(share):
    with pytest.raises(CardError, match="m.json: one: n_gpus: found 9, but this host has 8; allowed: 1 to 8, or -1"):
        share("9")
    with pytest.raises(ContextError, match="gpus_per_node: found 3, but docker_gpus lists 2"):
        share(gpus_per_node=3, docker_gpus="0,1")


def test_a_host_without_gpus_runs_as_many_processes_and_says_so(share):
    found = share("4", gpus=0)
    assert (found.processes, found.why) == (4, "n_gpus, on the CPU")
    assert found.notes == ("n_gpus 4: this host has no GPU; the run has 4 processes on the CPU",)
    assert (share(gpus=0).processes, share(gpus=0).notes) == (1, ())


def test_processes_of_distributed_count_beside_the_gpus(share):
    found = share("4", distributed={"nproc_per_node": 2})
    assert (found.processes, indices(found)) == (2, [0, 1, 2, 3])
    assert "nproc_per_node 8" in share("4", distributed={"nproc_per_node": 8}).notes[0]


def test_render_nodes_can_be_named_gpu_by_gpu(share):
    found = share(gpus=2, gpu_renderDs=(130, 140)).chosen.facts.accelerator.gpus
    assert [gpu.device for gpu in found] == ["/dev/dri/renderD130", "/dev/dri/renderD140"]
    with pytest.raises(ContextError, match="gpu_renderDs: found 1 numbers, but this host has 2 GPUs"):
        share(gpus=2, gpu_renderDs=(130,))


def test_a_native_card_is_not_touched(make_facts):
    native = Card(name="n", folder="/r", repository="/r", source="s", script="run.sh", gpus_per_node=3)
    assert share_of(native, Context(n_gpus=1), make_facts()).processes == 3
