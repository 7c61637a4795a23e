"""Devices that specification files of the Container Device Interface name."""

import json

from hypothesis import given
from hypothesis import strategies as st

from madrun.probe.cdi import devices

# The form that `nvidia-ctk cdi generate` writes (NVIDIA Container Toolkit documentation), shortened.
NVIDIA = """---
cdiVersion: 0.5.0
kind: nvidia.com/gpu
devices:
- name: "0"
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
- name: GPU-4cf8db2d-06c0-7d70-1a51-e59b25b2c16c
  containerEdits: {}
- name: all
  containerEdits: {}
containerEdits:
  env: [NVIDIA_VISIBLE_DEVICES=void]
"""


def test_devices_of_yaml_and_json_are_named_with_their_kind(tmp_path):
    (tmp_path / "nvidia.yaml").write_text(NVIDIA)
    amd = {"cdiVersion": "0.6.0", "kind": "amd.com/gpu", "devices": [{"name": "0"}]}
    (tmp_path / "amd.json").write_text(json.dumps(amd))
    assert devices([tmp_path]) == (
        "amd.com/gpu=0",
        "nvidia.com/gpu=0",
        "nvidia.com/gpu=GPU-4cf8db2d-06c0-7d70-1a51-e59b25b2c16c",
        "nvidia.com/gpu=all",
    )


def test_a_device_of_two_files_is_named_once_and_a_folder_that_is_not_there_names_none(tmp_path):
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(NVIDIA)
    assert len(devices([tmp_path / "none", tmp_path])) == 3
    assert devices([tmp_path / "none"]) == ()


def test_an_index_without_quotes_is_a_name_too(tmp_path):
    (tmp_path / "x.yaml").write_text("kind: nvidia.com/gpu\ndevices: [{name: 0}, {name: ''}, 7, {}]\n")
    assert devices([tmp_path]) == ("nvidia.com/gpu=0",)


def test_files_of_other_kinds_and_broken_ones_name_nothing(tmp_path):
    (tmp_path / "readme.txt").write_text(NVIDIA)
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "latin.yaml").write_bytes(b"kind: \xff")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "list.yaml").write_text("[1]")
    (tmp_path / "other.yaml").write_text("kind: 7\ndevices: x\n")
    assert devices([tmp_path]) == ()


@given(text=st.text(), ending=st.sampled_from(["json", "yaml"]))
def test_no_text_of_a_file_is_an_error(tmp_path_factory, text, ending):
    folder = tmp_path_factory.mktemp("cdi")
    (folder / f"x.{ending}").write_text(text, encoding="utf-8", errors="replace")
    devices([folder])
