"""AMD GPUs by KFD topology and sysfs, and by AMD's tools where these leave the product open."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.probe.accelerator import kfd, products


def test_gpus_are_counted_without_the_cpu_nodes_and_no_tool_is_started(host):
    host.cpu_node(0)
    host.cpu_node(1)
    host.gpu_node(2, minor=128)
    host.gpu_node(10, minor=136)
    host.write("sys/module/amdgpu/version", "6.10.5\n")
    found, started = host.find()
    assert (found.vendor, found.count, found.arch, found.driver) == ("amd", 2, "gfx942", "6.10.5")
    assert [gpu.device for gpu in found.gpus] == ["/dev/dri/renderD128", "/dev/dri/renderD136"]
    assert (found.control, found.notes, started) == (("/dev/kfd",), (), [])


def test_gpus_are_in_the_order_of_their_nodes_not_of_their_names(host):
    host.gpu_node(10, minor=136)
    host.gpu_node(9, minor=135)
    assert [gpu.device for gpu in host.find()[0].gpus] == ["/dev/dri/renderD135", "/dev/dri/renderD136"]
    assert [gpu.index for gpu in host.find()[0].gpus] == [0, 1]


def test_the_architecture_is_spelled_as_amd_spells_it(host):
    for node, version in enumerate((90402, 90010, 90500, 110001, 120001)):
        host.gpu_node(node, version, 128 + node)
    assert [gpu.arch for gpu in host.find()[0].gpus] == ["gfx942", "gfx90a", "gfx950", "gfx1101", "gfx1201"]


def test_products_that_share_an_architecture_are_told_apart(host):
    for node, device in enumerate((0x74A1, 0x74A5, 0x74A0)):
        host.gpu_node(node, minor=128 + node, device_id=device)
    found = host.find()[0]
    assert {gpu.arch for gpu in found.gpus} == {"gfx942"}
    assert [gpu.model for gpu in found.gpus] == ["AMD Instinct MI300X", "AMD Instinct MI325X", "AMD Instinct MI300A"]


def test_every_fact_of_a_gpu_comes_from_its_own_pci_device(host):
    host.gpu_node(2, location_id=0xC500, domain=1, unique_id=0x07386A321FA45D1E)
    host.write("sys/class/kfd/kfd/topology/nodes/2/mem_banks/0/properties", "heap_type 1\nsize_in_bytes 206141652992\n")
    host.write("sys/class/kfd/kfd/topology/nodes/2/mem_banks/1/properties", "heap_type 0\nsize_in_bytes 1\n")
    host.pci("0001:c5:00.0", numa_node=1, mem_info_vram_total=7)
    gpu = host.find()[0].gpus[0]
    assert (gpu.bus, gpu.uuid, gpu.numa, gpu.memory) == ("0001:c5:00.0", "GPU-07386a321fa45d1e", 1, 206141652992)


def test_a_virtual_function_is_a_pci_device_of_its_own(host):
    host.gpu_node(2, location_id=0x8303, device_id=0x74B9)
    host.pci("0000:83:00.3", device="0x74b9", numa_node=1)
    host.pci("0000:83:00.0", device="0x1234", numa_node=0)
    gpu = host.find()[0].gpus[0]
    assert (gpu.bus, gpu.numa, gpu.model) == ("0000:83:00.3", 1, "AMD Instinct MI325X VF")


def test_memory_is_that_of_the_drm_device_where_kfd_names_no_bank(host):
    host.gpu_node(2, location_id=0x1B00)
    host.pci("0000:1b:00.0", mem_info_vram_total=206141652992, numa_node=-1)
    gpu = host.find()[0].gpus[0]
    assert (gpu.memory, gpu.numa) == (206141652992, None)


def test_a_recorded_mi210_is_recognized(host, recorded):
    for node in (0, 2):
        text = recorded(f"kfd/mi210-node-{node}.txt")
        host.write(f"sys/class/kfd/kfd/topology/nodes/{node}/properties", text)
    host.write("dev/dri/renderD128")
    found = host.find()[0]
    assert (found.count, found.model, found.arch) == (1, "AMD Instinct MI210", "gfx90a")
    assert (found.gpus[0].bus, found.gpus[0].uuid) == ("0000:63:00.0", "GPU-1901ead3a2ecd4a6")


def _cpx(host, recorded):
    for node in (0, 2, 3, 6):
        text = recorded(f"kfd/mi308x-cpx-node-{node}.txt")
        host.write(f"sys/class/kfd/kfd/topology/nodes/{node}/properties", text)
    for minor in (128, 129, 136):
        host.write(f"dev/dri/renderD{minor}")


def test_the_parts_of_a_recorded_mi308x_say_their_partition_mode(host, recorded):
    _cpx(host, recorded)
    for bus in ("0000:0a:00.0", "0000:80:00.0"):
        host.pci(bus, current_compute_partition="CPX", numa_node=0, mem_info_vram_total=206141652992)
    found = host.find()[0]
    assert {gpu.model for gpu in found.gpus} == {"AMD Instinct MI308X (CPX)"}
    assert [gpu.bus for gpu in found.gpus] == ["0000:0a:00.0", "0000:0a:00.1", "0000:80:00.0"]
    assert [gpu.numa for gpu in found.gpus] == [0, 0, 0]
    assert {gpu.memory for gpu in found.gpus} == {0}, "the memory of the whole GPU is not that of a part"
    assert found.notes == ("compute partition mode CPX: 3 devices on 2 GPUs",)


def test_parts_without_a_mode_are_named(host, recorded):
    _cpx(host, recorded)
    found = host.find()[0]
    assert found.model == "AMD Instinct MI308X"
    assert found.notes == ("0000:0a:00.0: several KFD nodes, and the driver names no compute partition mode",)


def test_a_whole_gpu_is_not_called_a_part(host):
    host.gpu_node(2)
    host.pci("0000:02:00.0", current_compute_partition="SPX")
    assert (host.find()[0].model, host.find()[0].notes) == ("AMD Instinct MI300X", ())


def test_a_gpu_without_its_device_file_keeps_the_others_paired(host):
    host.gpu_node(1, 90402, 128, device_id=0x74A1)
    host.gpu_node(2, 90500, 129, device=False, device_id=0x75A3)
    host.gpu_node(3, 90010, 130, device_id=0x740F)
    found = host.find()[0]
    assert [(gpu.arch, gpu.device) for gpu in found.gpus] == [
        ("gfx942", "/dev/dri/renderD128"),
        ("gfx950", ""),
        ("gfx90a", "/dev/dri/renderD130"),
    ]
    assert found.notes == ("GPU 1 (0000:02:00.0): its device file /dev/dri/renderD129 is not there",)


def test_a_gpu_without_a_render_minor_keeps_the_others_paired(host):
    host.kfd(1, simd_count=8, gfx_target_version=90402, device_id=0x74A1)
    host.gpu_node(2, 90500, 129, device_id=0x75A0)
    assert [(gpu.arch, gpu.device) for gpu in host.find()[0].gpus] == [
        ("gfx942", ""),
        ("gfx950", "/dev/dri/renderD129"),
    ]


def test_a_node_that_is_hidden_from_this_process_is_left_out_and_named(host):
    # A folder stands for the file that the device cgroup refuses: reading either is an OSError, for root too.
    (host.root / "sys/class/kfd/kfd/topology/nodes/1/properties").mkdir(parents=True)
    host.gpu_node(2, minor=129)
    found = host.find()[0]
    assert (found.count, found.gpus[0].device) == (1, "/dev/dri/renderD129")
    assert found.notes == ("KFD node 1 is hidden from this process, its GPU is left out",)
    assert found.hidden == 1


def test_a_gpu_whose_id_is_hidden_is_left_out(host):
    host.gpu_node(1)
    host.write("sys/class/kfd/kfd/topology/nodes/1/gpu_id", "0\n")
    host.gpu_node(2, minor=129)
    host.write("sys/class/kfd/kfd/topology/nodes/2/gpu_id", "31896\n")
    assert [gpu.device for gpu in host.find()[0].gpus] == ["/dev/dri/renderD129"]


def test_a_host_whose_gpus_are_all_hidden_says_so(host):
    (host.root / "sys/class/kfd/kfd/topology/nodes/1/properties").mkdir(parents=True)
    found = host.find()[0]
    assert (found.vendor, found.count, found.hidden) == ("cpu", 0, 1)
    assert "hidden" in found.notes[0]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file to a group it is not in")
def test_groups_of_the_devices_are_numeric_and_leave_out_root(host):
    host.gpu_node(1, minor=128)
    host.gpu_node(2, minor=129)
    for name, gid in (("kfd", 0), ("dri/renderD128", 109), ("dri/renderD129", 44)):
        os.chown(host.root / "dev" / name, 0, gid)
    assert host.find()[0].groups == ("44", "109")


def test_the_driver_inside_the_kernel_is_named_by_the_kernel(host):
    host.gpu_node(1)
    host.write("proc/sys/kernel/osrelease", "6.8.0-79-generic\n")
    assert host.find()[0].driver == "Linux 6.8.0-79-generic"


def test_the_version_of_rocm_is_the_hosts(host, monkeypatch):
    monkeypatch.delenv("ROCM_PATH", raising=False)
    host.gpu_node(1)
    host.write("opt/rocm/.info/version", "6.4.0-47\n")
    host.write("opt/rocm-7.0.2/.info/version", "7.0.2\n")
    assert host.find()[0].stack == "6.4.0"
    monkeypatch.setenv("ROCM_PATH", "/opt/rocm-7.0.2")
    assert host.find()[0].stack == "7.0.2"


def test_the_board_names_a_product_that_the_table_does_not_have(host):
    host.gpu_node(2, device_id=0x9999)
    host.pci("0000:02:00.0", product_name="AMD Instinct MI500")
    assert (host.find()[0].model, host.find()[1]) == ("AMD Instinct MI500", [])


def test_an_id_of_two_products_is_told_apart_by_the_board(host):
    host.gpu_node(2, device_id=0x740C)
    assert host.find()[0].model == "AMD Instinct MI250X / MI250"
    host.pci("0000:02:00.0", product_name="AMD INSTINCT MI250 (MCM) OAM AC MBA")
    assert host.find()[0].model == "AMD INSTINCT MI250 (MCM) OAM AC MBA"


def test_the_hosts_own_list_names_what_the_table_does_not_have(host):
    host.gpu_node(2, 110000, device_id=0x744C)
    host.pci("0000:02:00.0", revision="0xc8")
    host.write(
        "usr/share/libdrm/amdgpu.ids", "1.0.0\n744C,\tCC,\tAMD Radeon RX 7900 XT\n744C,\tC8,\tAMD Radeon RX 7900 XTX\n"
    )
    assert (host.find()[0].model, host.find()[1]) == ("AMD Radeon RX 7900 XTX", [])


def test_amd_smi_names_a_product_that_sysfs_does_not(host, recorded):
    host.gpu_node(2, 90402, device_id=0x9999, location_id=0x8300)
    found, started = host.find({"amd-smi static": recorded("amd-smi/6.4-static.txt")})
    assert (found.model, found.notes) == ("AMD Instinct Mi325X VF", ())
    assert [argv[0] for argv in started] == ["amd-smi"]


def test_rocm_smi_is_asked_where_amd_smi_is_missing_and_contradictions_are_noted(host, recorded):
    host.gpu_node(2, 90008, device_id=0x9999, location_id=0xA300)
    found, started = host.find({"rocm-smi": recorded("rocm-smi/6.0.2-all.json")})
    assert [argv[0] for argv in started] == ["amd-smi", "rocm-smi"]
    assert (found.model, found.gpus[0].memory) == ("Arcturus GL-XL [Instinct MI100]", 34342961152)
    assert found.notes == ("sysfs has 1 GPUs, rocm-smi has 2",)


def test_rocminfo_is_the_last_to_be_asked(host, recorded):
    host.gpu_node(1, device_id=0x9999, location_id=33536)
    found, started = host.find({"rocminfo": recorded("rocminfo/7.2.4-mi300x-vf.txt")})
    assert [argv[0] for argv in started] == ["amd-smi", "rocm-smi", "rocminfo"]
    assert found.model == "AMD Instinct MI300X VF"


def test_rocminfo_which_knows_no_pci_domain_is_matched_by_id(host, recorded):
    text = recorded("rocminfo/7.2.4-mi300x-vf.txt")
    host.gpu_node(1, device_id=0x9999, location_id=33536, domain=2, unique_id=0x43529FE3CE00C724)
    found = host.find({"rocminfo": text})[0]
    assert (found.model, found.gpus[0].bus) == ("AMD Instinct MI300X VF", "0002:83:00.0")
    assert found.notes == ()


def test_a_product_that_a_tool_contradicts_is_noted(host, recorded):
    host.gpu_node(1, minor=128, device_id=0x74A5, location_id=0x8300)
    host.gpu_node(2, minor=129, device_id=0x9999, location_id=0x8B00)
    found = host.find({"amd-smi": recorded("amd-smi/6.4-static.txt")})[0]
    assert [gpu.model for gpu in found.gpus] == ["AMD Instinct MI325X", "gfx942"]
    assert "sysfs has 2 GPUs, amd-smi has 1" in found.notes
    assert "GPU 0 (0000:83:00.0): sysfs says AMD Instinct MI325X, amd-smi says AMD Instinct Mi325X VF" in found.notes
    assert "GPU 1 (0000:8b:00.0) is not among those of amd-smi" in found.notes


def test_without_any_tool_the_architecture_is_the_name_and_a_note_says_why(host):
    host.gpu_node(1, 120001, device_id=0x9999)
    found = host.find()[0]
    assert found.model == "gfx1201"
    assert found.notes[0].startswith("the product is not known")


@pytest.mark.parametrize(
    "name", ["", "N/A", "n/a", "0x1002", "0xc34", "738c", "AMD Radeon Graphics", "AMD Radeon(TM) Graphics"]
)
def test_a_word_for_any_gpu_is_no_product(name):
    assert not products.is_product(name)


@given(st.binary(max_size=400))
def test_a_properties_file_with_anything_in_it_does_no_harm(tmp_path_factory, content):
    root = tmp_path_factory.mktemp("root")
    node = root / "sys/class/kfd/kfd/topology/nodes/1"
    node.mkdir(parents=True)
    (node / "properties").write_bytes(b"simd_count 4\n" + content)
    found, _ = kfd.gpu_nodes(root)
    assert len(found) <= 1


@given(st.text(max_size=300), st.integers(0, 0xFFFF), st.text(max_size=4))
def test_a_list_of_ids_with_anything_in_it_does_no_harm(text, device, revision):
    assert isinstance(products.listed(text, device, revision), str)


@given(st.integers(0, 0xFF), st.integers(0, 0x1F), st.integers(0, 7), st.integers(0, 0xFFFF))
def test_the_address_of_a_location_is_the_one_that_sysfs_spells(bus, device, function, domain):
    location = bus << 8 | device << 3 | function
    assert kfd.kfd_address(location, domain) == f"{domain:04x}:{bus:02x}:{device:02x}.{function}"
