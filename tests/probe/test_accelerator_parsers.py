"""What the vendors' tools print, against recorded outputs (fixtures/SOURCES.md says where they are from)."""

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from madrun.probe.accelerator import amdsmi, nvidiasmi, rocminfo, rocmsmi
from madrun.probe.accelerator.published import numbers, pci_address
from madrun.spec.facts import Accelerator, Gpu

FIXTURES = Path(__file__).parent / "fixtures"
RECORDED = sorted(path for path in FIXTURES.glob("*/*") if path.is_file())


def test_every_recorded_output_has_its_source():
    sources = (FIXTURES / "SOURCES.md").read_text()
    names = [path.name for path in RECORDED if path.parent.name != "kfd"]
    assert [name for name in names if name not in sources] == []
    assert len(names) > 15


def test_amd_smi_list_of_rocm_6_is_a_list(recorded):
    assert amdsmi.parse(recorded("amd-smi/6.3.1-list.json")) == (Gpu(index=0, bus="0000:c4:00.0"),)


def test_amd_smi_static_of_rocm_6_is_a_list(recorded):
    (gpu,) = amdsmi.parse(recorded("amd-smi/6.3.1-static.json"))
    assert gpu.model == "Strix Halo [Radeon Graphics / Radeon 8050S Graphics / Radeon 8060S Graphics]"
    assert (gpu.arch, gpu.bus, gpu.memory, gpu.uuid) == ("gfx1151", "0000:c4:00.0", 32 << 30, "")


def test_amd_smi_static_of_rocm_7_is_an_object(recorded):
    assert amdsmi.parse(recorded("amd-smi/7-static-asic.json")) == (
        Gpu(index=0, model="AMD Radeon RX 7900 XTX", arch="gfx1100", uuid="GPU-f8af378f651965e2"),
    )


def test_warnings_before_the_json_of_amd_smi_are_no_obstacle(recorded):
    (gpu,) = amdsmi.parse(recorded("amd-smi/7-warnings-before-static.json"))
    assert (gpu.model, gpu.arch, gpu.bus) == ("AMD Radeon RX 7800 XT", "gfx1101", "0000:03:00.0")


def test_amd_smi_list_with_enumeration_names_device_file_and_hip_id(recorded):
    assert amdsmi.parse(recorded("amd-smi/6.4-list-e.txt")) == (
        Gpu(index=0, bus="0000:83:00.0", uuid="GPU-9f444a2fb30adeb0", device="/dev/dri/renderD185"),
        Gpu(index=1, bus="0000:8b:00.0", uuid="GPU-b7d181671a192e45", device="/dev/dri/renderD177"),
    )


def test_amd_smi_list_as_text(recorded):
    assert [gpu.bus for gpu in amdsmi.parse(recorded("amd-smi/6.4-list.txt"))] == ["0000:83:00.0", "0000:8b:00.0"]


@pytest.mark.parametrize(
    ("name", "model", "arch", "uuid", "bus"),
    [
        ("6.4-static.txt", "AMD Instinct Mi325X VF", "gfx942", "GPU-9f444a2fb30adeb0", "0000:83:00.0"),
        ("7-static.txt", "AMD Instinct MI350X", "gfx950", "", "0000:05:00.0"),
    ],
)
def test_amd_smi_static_as_text(recorded, name, model, arch, uuid, bus):
    (gpu,) = amdsmi.parse(recorded(f"amd-smi/{name}"))
    assert (gpu.model, gpu.arch, gpu.uuid, gpu.bus) == (model, arch, uuid, bus)


def test_a_generic_market_name_gives_way_to_the_boards(recorded):
    text = recorded("amd-smi/7-static.txt").replace(
        "MARKET_NAME: AMD Instinct MI350X", "MARKET_NAME: AMD Radeon Graphics"
    )
    assert amdsmi.parse(text)[0].model == "AMD Instinct MI350 OAM"


def test_rocm_smi_json_of_rocm_6(recorded):
    assert rocmsmi.parse(recorded("rocm-smi/6.0.2-all.json")) == (
        Gpu(
            index=0,
            model="Arcturus GL-XL [Instinct MI100]",
            uuid="GPU-79ccd55167a2124a",
            bus="0000:83:00.0",
            memory=34342961152,
        ),
        Gpu(
            index=1,
            model="Arcturus GL-XL [Instinct MI100]",
            uuid="GPU-04edfb117a17a07d",
            bus="0000:a3:00.0",
            memory=34342961152,
        ),
    )


def test_rocm_smi_json_whose_names_are_ids_has_no_product(recorded):
    (gpu,) = rocmsmi.parse(recorded("rocm-smi/4.3.0-all.json"))
    assert (gpu.model, gpu.uuid, gpu.bus) == ("", "", "0000:07:00.0")


def test_rocm_smi_prints_the_stepping_of_gfx90a_in_decimal(recorded):
    (gpu,) = rocmsmi.parse(recorded("rocm-smi/6.1-showproductname.json"))
    assert (gpu.model, gpu.arch) == ("AMD INSTINCT MI200 (MCM) OAM LC MBA HPE C2", "gfx90a")


def test_rocm_smi_as_text(recorded):
    gpus = rocmsmi.parse(recorded("rocm-smi/6.4.0-i.txt"))
    assert [(gpu.index, gpu.model) for gpu in gpus] == [(index, "AMD Instinct MI300A") for index in range(3)]
    assert rocmsmi.parse(recorded("rocm-smi/4.0.0-showproductname.txt")) == (Gpu(index=0),)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "6.2.3-mi300x.txt",
            Gpu(
                index=0,
                model="AMD Instinct MI300X",
                arch="gfx942",
                uuid="GPU-07386a321fa45d1e",
                bus="0000:1b:00.0",
                memory=201310208 << 10,
            ),
        ),
        (
            "7.2.4-mi300x-vf.txt",
            Gpu(
                index=0,
                model="AMD Instinct MI300X VF",
                arch="gfx942",
                uuid="GPU-43529fe3ce00c724",
                bus="0000:83:00.0",
                memory=200998912 << 10,
            ),
        ),
        ("6-mi308x-generic-name.txt", Gpu(index=0, arch="gfx942", uuid="GPU-21b6d61638a86f8c")),
    ],
)
def test_rocminfo_counts_gpu_agents_alone(recorded, name, expected):
    assert rocminfo.parse(recorded(f"rocminfo/{name}")) == (expected,)


def test_nvidia_smi_lists_gpus(recorded):
    assert nvidiasmi.parse_list(recorded("nvidia-smi/570.86.15-list.txt")) == (
        Gpu(index=0, model="NVIDIA TITAN V", uuid="GPU-b5169cef-2205-c30e-f2b3-220cfa14bafd"),
        Gpu(index=1, model="NVIDIA RTX 5880 Ada Generation", uuid="GPU-7518f6b0-991f-ce2b-3d37-c779130d3137"),
    )


def test_nvidia_smi_lists_mig_devices_with_their_gpu(recorded):
    gpus = nvidiasmi.parse_list(recorded("nvidia-smi/list-mig-on-one-of-four.txt"))
    assert [len(gpu.partitions) for gpu in gpus] == [4, 0, 0, 0]
    assert {part.name for part in gpus[0].partitions} == {"1g.20gb"}


def test_mig_ids_of_drivers_before_470_are_read():
    line = "  MIG 3g.20gb Device 0: (UUID: MIG-GPU-932bfb2c-849a-2a22-1e84-9eff6bc02b39/1/0)\n"
    (gpu,) = nvidiasmi.parse_list("GPU 0: A100-PCIE-40GB (UUID: GPU-932bfb2c)\n" + line)
    assert gpu.partitions[0].uuid == "MIG-GPU-932bfb2c-849a-2a22-1e84-9eff6bc02b39/1/0"


def test_a_query_is_read_by_its_header(recorded):
    found = nvidiasmi.parse_query(recorded("nvidia-smi/570.86.15-query.csv"))
    assert [(gpu.index, gpu.model, gpu.arch) for gpu in found.gpus] == [
        (0, "NVIDIA TITAN V", "sm_70"),
        (1, "NVIDIA RTX 5880 Ada Generation", "sm_89"),
    ]
    assert found.driver == "570.86.15"


def test_a_query_has_memory_and_address(recorded):
    gpus = nvidiasmi.parse_query(recorded("nvidia-smi/580.178.04-query.csv")).gpus
    assert len(gpus) == 8
    assert gpus[6] == Gpu(index=6, model="NVIDIA L40S", bus="0000:e3:00.0", memory=46068 << 20)


def test_an_old_nvidia_smi_that_does_not_know_a_column_gives_nothing():
    assert nvidiasmi.parse_query('Field "compute_cap" is not a valid field to query.\n') == Accelerator()


@pytest.mark.parametrize(
    ("table", "version"),
    [("331.62", ""), ("520.61.05", "11.8"), ("550.127.05", "12.4"), ("610.57.04", "13.3")],
)
def test_the_table_says_which_cuda_the_driver_supports(recorded, table, version):
    assert nvidiasmi.cuda_version(recorded(f"nvidia-smi/{table}-table.txt")) == version


@pytest.mark.parametrize(("capability", "arch"), [("9.0", "sm_90"), ("12.0", "sm_120"), ("[N/A]", ""), ("", "")])
def test_compute_capability_is_spelled_as_an_architecture(capability, arch):
    assert nvidiasmi.sm(capability) == arch


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("00000000:E3:00.0", "0000:e3:00.0"),
        ("0000:1E:00.0", "0000:1e:00.0"),
        ("03F8CFDD:00:00.0", "3f8cfdd:00:00.0"),
        ("N/A", ""),
    ],
)
def test_pci_addresses_are_spelled_as_sysfs_does(text, address):
    assert pci_address(text) == address


def test_properties_of_another_form_are_left_out():
    assert numbers("simd_count 4\nname\nunique_id 1 2\nx -1\ny 1e3\n") == {"simd_count": 4, "x": -1}


PARSERS = (
    amdsmi.parse,
    rocmsmi.parse,
    rocminfo.parse,
    nvidiasmi.parse_list,
    nvidiasmi.parse_query,
    nvidiasmi.cuda_version,
)


def _damaged():
    """Recorded outputs with a piece cut out and something else put in its place."""
    texts = st.sampled_from([path.read_text() for path in RECORDED])
    return st.tuples(texts, st.integers(0, 4000), st.integers(0, 400), st.text(max_size=20)).map(
        lambda parts: parts[0][: parts[1]] + parts[3] + parts[0][parts[1] + parts[2] :]
    )


@given(st.one_of(st.text(max_size=500), _damaged()))
@example('{"gpu_data": {"gpu": 0}}')
@example('{"gpu_data": [{"gpu": null, "asic": [], "vram": {"size": {"value": [], "unit": {}}}}]}')
@example('[{"gpu": true, "asic": {"market_name": 7}}, 3]')
@example('{"card0": {"Unique ID": 7}, "card1": null}')
@example("[" * 100_000)
@example('{"a":' * 100_000)
@example("GPU: 0\n    GPU: 1\n        GPU: 2\n")
@example("index, name\n1\n1, 2, 3\n,\n")
def test_no_text_breaks_a_parser(text):
    for parse in PARSERS:
        parse(text)


KEYS = ("gpu", "asic", "bus", "bdf", "vram", "size", "value", "unit", "card0", "gpu_data", "render", "board")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=12,
)


@given(VALUES)
def test_no_json_breaks_a_parser(value):
    text = json.dumps(value)
    amdsmi.parse(text)
    rocmsmi.parse(text)
