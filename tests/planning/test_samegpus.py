"""A saved plan gets the GPUs that it was made for, or is refused."""

from dataclasses import replace

import pytest

from madrun.errors import ContextError
from madrun.planning.samegpus import check_gpus, gpu_changes
from madrun.spec.codec import to_plain
from madrun.spec.facts import Accelerator, Engine, Gpu, Partition


def amd(*files, uuids=("A", "B", "C", "D")):
    gpus = tuple(Gpu(index=i, device=file, uuid=uuids[i]) for i, file in enumerate(files))
    return Accelerator(vendor="amd", gpus=gpus)


def nvidia(*uuids):
    return Accelerator(
        vendor="nvidia",
        gpus=tuple(Gpu(index=i, device=f"/dev/nvidia{i}", uuid=uuid) for i, uuid in enumerate(uuids)),
    )


@pytest.fixture
def node(make_node, container):
    def make(*gpus, **flags):
        values = {"gpus": "", "devices": ()} | flags
        return make_node(container=replace(container, **values), process=None, gpus=gpus or (0,))

    return make


def test_the_same_gpus_are_used_again(node, make_facts):
    facts = make_facts(accelerator=amd("/dev/dri/renderD128"))
    check_gpus(node(devices=("/dev/kfd", "/dev/dri/renderD128")), facts, to_plain(facts))
    facts = make_facts(accelerator=nvidia("GPU-a", "GPU-b"))
    check_gpus(node(1), facts, to_plain(facts))


@pytest.mark.parametrize("known", [True, False], ids=["with facts", "without"])
def test_another_device_file_is_refused(node, make_facts, known):
    then = to_plain(make_facts(accelerator=amd("/dev/dri/renderD128"))) if known else {}
    facts = make_facts(accelerator=amd("/dev/dri/renderD136"))
    with pytest.raises(ContextError, match="GPU 0 is /dev/dri/renderD136 on this host, but was .*renderD128"):
        check_gpus(node(devices=("/dev/kfd", "/dev/dri/renderD128")), facts, then)


def test_gpus_that_changed_places_are_refused(node, make_facts):
    then = to_plain(make_facts(accelerator=amd("/dev/dri/renderD128", "/dev/dri/renderD129")))
    facts = make_facts(accelerator=amd("/dev/dri/renderD129", "/dev/dri/renderD128"))
    with pytest.raises(ContextError, match="GPU 0 is /dev/dri/renderD129"):
        check_gpus(node(0, 1, devices=("/dev/dri/renderD128", "/dev/dri/renderD129")), facts, then)


def test_the_environment_of_today_leaves_what_it_leaves(node, make_facts):
    facts = make_facts(accelerator=nvidia("GPU-a", "GPU-b"), process_env={"CUDA_VISIBLE_DEVICES": "1"})
    with pytest.raises(ContextError, match="uses GPU 0, but the environment leaves GPUs 1 of the 2 .*VISIBLE_DEVICES"):
        check_gpus(node(0), facts, {})
    check_gpus(node(1), facts, {})


def test_a_partition_that_the_environment_leaves_out_is_not_used(node, make_facts):
    parts = tuple(Partition(name="1g", uuid=uuid) for uuid in ("MIG-a", "MIG-b"))
    gpu = Gpu(index=0, uuid="GPU-a", device="/dev/nvidia0", mig=True, partitions=parts)
    accelerator = Accelerator(vendor="nvidia", gpus=(gpu,))
    facts = make_facts(accelerator=accelerator, process_env={"CUDA_VISIBLE_DEVICES": "MIG-b"})
    check_gpus(node(0, gpus="MIG-b"), facts, {})
    with pytest.raises(ContextError, match="uses MIG-a, but the environment leaves"):
        check_gpus(node(0, gpus="MIG-a"), facts, {})


def test_all_gpus_are_as_many_as_then(node, make_facts):
    facts = make_facts(accelerator=nvidia("GPU-a", "GPU-b"))
    check_gpus(node(0, 1, gpus="all"), facts, {})
    with pytest.raises(ContextError, match="all GPUs, which were 1, but this host has 2"):
        check_gpus(node(0, gpus="all"), facts, {})
    hidden = make_facts(accelerator=replace(nvidia("GPU-a"), hidden=1))
    with pytest.raises(ContextError, match="all GPUs, which were 1, but this host has 2"):
        check_gpus(node(0, gpus="all"), hidden, {})


def test_a_device_that_the_engine_is_asked_for_has_to_exist(node, make_facts):
    facts = make_facts(
        accelerator=nvidia("GPU-a"), engine=Engine(name="podman", version="5", cdi=("nvidia.com/gpu=0",))
    )
    check_gpus(node(0, cdi=("nvidia.com/gpu=0",)), facts, {})
    for flags, word in (({"gpus": "GPU-z"}, "GPU-z"), ({"cdi": ("nvidia.com/gpu=GPU-z",)}, "nvidia.com/gpu=GPU-z")):
        with pytest.raises(ContextError, match=f"asks the engine for {word}, which this host has not"):
            check_gpus(node(0, **flags), facts, {})


def test_another_gpu_behind_the_same_index_is_named(node, make_facts):
    then = to_plain(make_facts(accelerator=nvidia("GPU-a", "GPU-b")))
    facts = make_facts(accelerator=nvidia("GPU-z", "GPU-b"))
    assert gpu_changes(node(0, 1), then, facts) == ["GPU 0 uuid GPU-a -> GPU-z"]
    assert gpu_changes(node(1), then, facts) == gpu_changes(node(0), {}, facts) == []
    assert gpu_changes(node(0), {"accelerator": ["?"]}, facts) == []
