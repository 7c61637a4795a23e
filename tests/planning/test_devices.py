"""Which GPUs a job gets, and the flags that give them to its container."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.errors import ContextError, EngineError
from madrun.planning.devices import Chosen, choose, container_flags, most_processes, partition_note
from madrun.spec.facts import Accelerator, Engine, Gpu, Partition

RENDER = [f"/dev/dri/renderD{128 + 8 * index}" for index in range(8)]
AMD = Accelerator(
    vendor="amd",
    gpus=tuple(Gpu(index=i, device=RENDER[i], uuid=f"GPU-{i:016x}") for i in range(8)),
    control=("/dev/kfd",),
    groups=("109",),
)
NVIDIA = Accelerator(
    vendor="nvidia", gpus=tuple(Gpu(index=i, device=f"/dev/nvidia{i}", uuid=f"GPU-{i}") for i in range(4))
)
SLICES = tuple(Partition(name="3g.71gb", uuid=f"MIG-{i}") for i in range(2))
CUT = Accelerator(vendor="nvidia", gpus=(Gpu(index=0, device="/dev/nvidia0", partitions=SLICES),))
DOCKER, PODMAN = Engine(name="docker", version="27"), Engine(name="podman", version="4.3.1")
CDI = ("nvidia.com/gpu=0", "nvidia.com/gpu=1", "nvidia.com/gpu=2", "nvidia.com/gpu=3", "nvidia.com/gpu=all")


@pytest.fixture
def chosen(make_facts):
    def make(accelerator, docker_gpus=None, engine=DOCKER, **env):
        return choose(make_facts(accelerator=accelerator, engine=engine, process_env=env), docker_gpus)

    return make


def indices(choice):
    return [gpu.index for gpu in choice.facts.accelerator.gpus]


def test_all_gpus_are_meant_unless_something_says_otherwise(chosen):
    for choice in (chosen(AMD), chosen(AMD, "all"), chosen(AMD, "0-7")):
        assert indices(choice) == list(range(8))
        assert choice.whole
        assert choice.note == ""


def test_indices_and_ranges_name_gpus(chosen):
    choice = chosen(AMD, " 0, 2-4,7 ")
    assert indices(choice) == [0, 2, 3, 4, 7]
    assert not choice.whole
    assert choice.note == "GPUs 0,2,3,4,7 of the 8 of this host (docker_gpus)"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("8", "found 8 in '8', but this host has the GPUs 0 to 7"),
        ("6-9", "found 8 in '6-9'"),
        ("3-1", "found '3-1' in '3-1', allowed: all, or indices such as '0,2-4'"),
        ("1,1", "found 1 twice"),
        ("0-2,2", "found 2 twice"),
        ("first", "found 'first'"),
        ("0,", "found ''"),
        ("", "found '', allowed"),
        ("-1", "found '-1'"),
        ("٠", "found '٠'"),
        ("0-99999999999", "found '0-99999999999'"),
    ],
)
def test_gpus_that_do_not_exist_or_are_no_indices_are_refused(chosen, text, words):
    with pytest.raises(ContextError, match=re.escape(words)):
        chosen(AMD, text)


def test_a_gpu_without_its_device_file_is_not_given(chosen):
    gpus = (Gpu(index=0, device=RENDER[0]), Gpu(index=1))
    with pytest.raises(ContextError, match="GPU 1 in '0-1' has no device file on this host; allowed: 0"):
        chosen(Accelerator(vendor="amd", gpus=gpus), "0-1")
    with pytest.raises(ContextError, match="GPU 1 in 'all' has no device file on this host; allowed: 0"):
        chosen(Accelerator(vendor="amd", gpus=gpus), "all")
    choice = chosen(Accelerator(vendor="amd", gpus=gpus))
    assert indices(choice) == [0]
    assert choice.note == "GPUs 0 of the 2 of this host (the others have no device file)"


@pytest.mark.parametrize("vendor", ["amd", "nvidia"])
def test_a_host_whose_gpus_all_lack_device_files_is_no_cpu_host(chosen, vendor):
    bare = Accelerator(vendor=vendor, gpus=(Gpu(index=0), Gpu(index=1)))
    with pytest.raises(ContextError, match=r"GPU 0,1: this host has no device files .*To run on the CPU on purpose"):
        chosen(bare)
    hides = "ROCR_VISIBLE_DEVICES" if vendor == "amd" else "CUDA_VISIBLE_DEVICES"
    assert chosen(bare, **{hides: ""}).facts.accelerator.vendor == "cpu"


def test_an_nvidia_gpu_without_a_known_device_file_is_given_where_the_driver_is_there(chosen):
    bare = Accelerator(vendor="nvidia", gpus=(Gpu(index=0, uuid="GPU-a"),), control=("/dev/nvidiactl",))
    for choice in (chosen(bare), chosen(bare, "all"), chosen(bare, "0")):
        assert container_flags(choice, nnodes=1).gpus == "all"
        assert container_flags(choice, nnodes=1).expected == ("/dev/nvidiactl",)


def test_a_process_that_may_use_none_of_the_gpus_is_no_cpu_unless_it_says_so(chosen):
    none = Accelerator(hidden=4, notes=("the GPU at 0000:01:00.0 is left out",))
    with pytest.raises(ContextError, match=r"none of the 4 GPUs of this host \(the GPU at 0000:01:00.0 is left out\)"):
        chosen(none)
    with pytest.raises(ContextError, match="this process may use none of the 4 GPUs of this host"):
        chosen(none, "0")
    choice = chosen(none, CUDA_VISIBLE_DEVICES="NoDevFiles")
    assert choice.facts.accelerator.vendor == "cpu"
    assert choice.note.startswith("GPUs none of the 4 of this host")


def test_a_gpu_with_mig_on_and_no_instance_is_refused_with_the_remedy(chosen):
    gpus = (Gpu(index=0, device="/dev/nvidia0"), Gpu(index=1, device="/dev/nvidia1", mig=True))
    half = Accelerator(vendor="nvidia", gpus=gpus)
    for asked in (None, "all", "1"):
        with pytest.raises(ContextError, match=r"GPU 1: MIG is on .*mig -i 1 -cgi PROFILE -C.*-i 1 -mig 0"):
            chosen(half, asked)
    assert indices(chosen(half, "0")) == [0]
    assert indices(chosen(half, CUDA_VISIBLE_DEVICES="0")) == [0]


@pytest.mark.parametrize("text", ["all", "0"])
def test_gpus_are_not_asked_of_a_host_without_any(chosen, text):
    with pytest.raises(ContextError, match="this host has no GPU"):
        chosen(Accelerator(), text)


@given(st.text(alphabet="0123456789-, all:", max_size=12))
def test_any_text_names_gpus_of_this_host_or_is_refused(make_facts, text):
    try:
        choice = choose(make_facts(accelerator=AMD), text)
    except ContextError as error:
        assert str(error).startswith("docker_gpus: found")
    else:
        assert choice.facts.accelerator.gpus
        assert set(choice.facts.accelerator.gpus) <= set(AMD.gpus)


def test_the_variables_of_this_host_leave_gpus_out(chosen):
    choice = chosen(NVIDIA, CUDA_VISIBLE_DEVICES="2,GPU-3")
    assert indices(choice) == [2, 3]
    assert choice.note == "GPUs 2,3 of the 4 of this host (CUDA_VISIBLE_DEVICES=2,GPU-3)"
    assert choice.env == {}


def test_amds_second_variable_counts_within_the_first(chosen):
    assert indices(chosen(AMD, ROCR_VISIBLE_DEVICES="4,5,6,7", HIP_VISIBLE_DEVICES="1,2")) == [5, 6]
    assert indices(chosen(AMD, ROCR_VISIBLE_DEVICES="GPU-0000000000000003")) == [3]


def test_hip_reads_cudas_variable_where_its_own_is_empty_or_not_set(chosen):
    assert indices(chosen(AMD, CUDA_VISIBLE_DEVICES="0")) == [0]
    assert indices(chosen(AMD, CUDA_VISIBLE_DEVICES="1", HIP_VISIBLE_DEVICES="")) == [1]
    assert indices(chosen(AMD, CUDA_VISIBLE_DEVICES="1", HIP_VISIBLE_DEVICES="2")) == [2]
    assert indices(chosen(AMD, ROCR_VISIBLE_DEVICES="4,5", CUDA_VISIBLE_DEVICES="1")) == [5]
    assert chosen(AMD, HIP_VISIBLE_DEVICES="").whole
    assert chosen(AMD, CUDA_VISIBLE_DEVICES="").whole
    assert chosen(AMD, ROCR_VISIBLE_DEVICES="").facts.accelerator.vendor == "cpu"


def test_amds_ids_are_read_in_any_case(chosen):
    last = Accelerator(vendor="amd", gpus=(Gpu(index=0, device=RENDER[0], uuid="GPU-00000000000000ab"),))
    assert indices(chosen(last, ROCR_VISIBLE_DEVICES="gpu-00000000000000AB")) == [0]


def test_cuda_takes_the_beginning_of_an_id_that_no_other_shares(chosen):
    gpus = tuple(Gpu(index=i, device=f"/dev/nvidia{i}", uuid=uuid) for i, uuid in enumerate(("GPU-aa11", "GPU-aa22")))
    two = Accelerator(vendor="nvidia", gpus=gpus)
    assert indices(chosen(two, CUDA_VISIBLE_DEVICES="GPU-aa2")) == [1]
    for text in ("GPU-aa", "G", "GPU-aa22b", "00"):
        with pytest.raises(ContextError, match=f"'{text}' is none of the 2 GPUs here"):
            chosen(two, CUDA_VISIBLE_DEVICES=text)
    short = Accelerator(vendor="nvidia", gpus=(*gpus, Gpu(index=2, device="/dev/nvidia2", uuid="GPU-aa")))
    assert indices(chosen(short, CUDA_VISIBLE_DEVICES="GPU-aa")) == [2], "a whole id is no beginning of others"


@given(st.text(alphabet="0123,- GPUMIaNoDevFiles", max_size=14), st.sampled_from([AMD, NVIDIA, CUT]))
def test_any_variable_leaves_each_gpu_once_or_is_refused(make_facts, text, accelerator):
    env = dict.fromkeys(("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"), text)
    try:
        choice = choose(make_facts(accelerator=accelerator, process_env=env), None)
    except ContextError as error:
        assert "_VISIBLE_DEVICES=" in str(error)
    else:
        assert len(set(indices(choice))) == len(indices(choice))
        assert set(indices(choice)) <= {gpu.index for gpu in accelerator.gpus}


@pytest.mark.parametrize("text", ["", "-1", "NoDevFiles"])
def test_a_host_that_hides_its_gpus_is_a_cpu(chosen, text):
    choice = chosen(NVIDIA, CUDA_VISIBLE_DEVICES=text)
    assert choice.facts.accelerator == Accelerator()
    assert "GPUs none of the 4" in choice.note


def test_a_variable_that_names_no_gpu_of_this_host_is_refused(chosen):
    with pytest.raises(ContextError, match=r"CUDA_VISIBLE_DEVICES=0,9 in the environment: '9' is none of the 4 GPUs"):
        chosen(NVIDIA, CUDA_VISIBLE_DEVICES="0,9")


def test_what_the_user_asks_for_stands_above_the_variables(chosen):
    choice = chosen(AMD, "5,6", ROCR_VISIBLE_DEVICES="0", HIP_VISIBLE_DEVICES="0")
    assert indices(choice) == [5, 6]
    assert choice.env == {"ROCR_VISIBLE_DEVICES": "5,6", "HIP_VISIBLE_DEVICES": "0,1"}
    assert chosen(NVIDIA, "1").env == {"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


def test_an_amd_gpu_is_given_by_its_render_node(chosen):
    flags = container_flags(chosen(AMD, "1,3"), nnodes=1)
    assert flags.devices == ("/dev/kfd", RENDER[1], RENDER[3])
    assert flags.expected == flags.devices
    assert (flags.groups, flags.gpus, flags.cdi) == (("109",), "", ())


def test_rootless_podman_keeps_the_users_own_groups(chosen):
    engine = Engine(name="podman", version="5", rootless=True)
    assert container_flags(chosen(AMD, engine=engine), nnodes=1).groups == ("keep-groups",)


def test_nvidia_gpus_are_asked_for_all_or_by_id(chosen):
    assert container_flags(chosen(NVIDIA), nnodes=1).gpus == "all"
    flags = container_flags(chosen(NVIDIA, "0,2"), nnodes=1)
    assert flags.gpus == "GPU-0,GPU-2"
    assert flags.expected == ("/dev/nvidia0", "/dev/nvidia2")


def test_podman_takes_nvidia_gpus_by_cdi(chosen):
    podman = Engine(name="podman", version="5", cdi=CDI)
    assert container_flags(chosen(NVIDIA, engine=podman), nnodes=1).cdi == ("nvidia.com/gpu=all",)
    flags = container_flags(chosen(NVIDIA, "1-2", engine=podman), nnodes=1)
    assert (flags.cdi, flags.gpus) == (("nvidia.com/gpu=1", "nvidia.com/gpu=2"), "")


def _hidden(*uuids):
    gpus = tuple(Gpu(index=i, device=f"/dev/nvidia{2 + i}", uuid=uuid) for i, uuid in enumerate(uuids))
    return Accelerator(vendor="nvidia", gpus=gpus, hidden=2)


def test_the_engine_is_not_asked_for_all_where_the_host_has_more_gpus(chosen):
    choice = chosen(_hidden("GPU-c", "GPU-d"))
    assert not choice.whole
    assert choice.note == "GPUs 0,1 of the 4 of this host (the others are kept from this process, or lost)"
    assert container_flags(choice, nnodes=1).gpus == "GPU-c,GPU-d"
    assert container_flags(chosen(_hidden("GPU-c", "GPU-d"), "all"), nnodes=1).gpus == "GPU-c,GPU-d"
    assert container_flags(chosen(_hidden("GPU-c"), CUDA_VISIBLE_DEVICES="0"), nnodes=1).gpus == "GPU-c"


def test_an_index_stands_for_an_id_only_where_it_is_the_hosts(chosen):
    gpus = tuple(Gpu(index=i, device=f"/dev/nvidia{i}") for i in range(2))
    assert container_flags(chosen(Accelerator(vendor="nvidia", gpus=gpus), "1"), nnodes=1).gpus == "1"
    with pytest.raises(EngineError, match="GPU 0 cannot be named to the engine: its id is not known"):
        container_flags(chosen(_hidden("")), nnodes=1)


def test_cdi_devices_are_named_by_id_else_by_an_index_that_is_the_hosts(chosen):
    by_id = Engine(name="podman", version="5", cdi=(*CDI, "nvidia.com/gpu=GPU-1", "nvidia.com/gpu=GPU-c"))
    assert container_flags(chosen(NVIDIA, "1-2", engine=by_id), nnodes=1).cdi == (
        "nvidia.com/gpu=GPU-1",
        "nvidia.com/gpu=2",
    )
    assert container_flags(chosen(_hidden("GPU-c"), engine=by_id), nnodes=1).cdi == ("nvidia.com/gpu=GPU-c",)
    by_index = Engine(name="podman", version="5", cdi=CDI)
    with pytest.raises(EngineError, match=r"^nvidia.com/gpu=GPU-c is none of .*--device-name-strategy=uuid"):
        container_flags(chosen(_hidden("GPU-c"), engine=by_index), nnodes=1)
    with pytest.raises(EngineError, match=r"^nvidia.com/gpu=MIG-1 is none of .*--device-name-strategy=uuid"):
        container_flags(chosen(CUT, engine=by_index, CUDA_VISIBLE_DEVICES="MIG-1"), nnodes=1)


def test_nvidia_device_files_of_a_group_need_the_group(chosen):
    grouped = replace(NVIDIA, groups=("44",))
    assert container_flags(chosen(grouped), nnodes=1).groups == ("44",)
    rootless = Engine(name="podman", version="5", rootless=True, cdi=CDI)
    assert container_flags(chosen(grouped, engine=rootless), nnodes=1).groups == ("keep-groups",)
    assert container_flags(chosen(NVIDIA, engine=rootless), nnodes=1).groups == ()


def test_podman_without_a_cdi_specification_is_refused_with_the_remedy(chosen):
    with pytest.raises(EngineError, match=r"GPU-0 or nvidia.com/gpu=0 is none of .*nvidia-ctk cdi generate"):
        container_flags(chosen(NVIDIA, engine=PODMAN), nnodes=1)


def test_docker_takes_cdi_only_where_its_toolkit_is_not_set_up(chosen):
    def flags(**engine):
        return container_flags(chosen(NVIDIA, engine=Engine(name="docker", version="28", **engine)), nnodes=1)

    assert flags(cdi=CDI, runtimes=("runc",)).cdi == ("nvidia.com/gpu=all",)
    assert flags(cdi=CDI, runtimes=("nvidia", "runc")).gpus == "all"
    assert flags(cdi=CDI).gpus == "all"
    assert flags(runtimes=("runc",)).gpus == "all"


def test_partitions_are_named_and_hold_one_process_each(chosen):
    assert most_processes(CUT) == 1
    assert most_processes(NVIDIA) == 4
    assert most_processes(Accelerator()) == 0
    assert partition_note(CUT).startswith("MIG is on (GPU 0: 3g.71gb, 3g.71gb)")
    assert partition_note(NVIDIA) == ""


def test_one_partition_in_the_environment_is_all_that_the_container_gets(chosen):
    choice = chosen(CUT, CUDA_VISIBLE_DEVICES="MIG-1")
    assert not choice.whole
    assert container_flags(choice, nnodes=1).gpus == "MIG-1"


def test_partitions_of_one_gpu_are_one_gpu(chosen):
    choice = chosen(CUT, CUDA_VISIBLE_DEVICES="MIG-1,MIG-0")
    assert indices(choice) == [0]
    assert container_flags(choice, nnodes=1).gpus == "MIG-1,MIG-0"


def test_a_host_without_gpus_needs_no_flags(make_facts):
    flags = container_flags(Chosen(facts=make_facts()), nnodes=2)
    assert (flags.devices, flags.gpus, flags.cap_add, flags.expected) == ((), "", (), ())
