"""What the driver reports of a container before RDMA is used in it, and what is made of that. The shell text is run."""

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.planning.driver import render
from madrun.planning.inside import (
    LEAST_MEMLOCK,
    SCRIPT,
    UNLIMITED,
    Inside,
    describe,
    doubts,
    obstacles,
    parse,
    providers,
)
from madrun.spec.fabric import Hca

GOOD = Inside(
    memlock=UNLIMITED,
    nofile=1048576,
    shm=64 << 20,
    devices=("uverbs0",),
    libraries=("libibverbs.so.1",),
    wanted=("mlx5",),
    providers=("mlx5",),
)
_AROUND = """set -u
MADRUN_BOX=$1
say() { local IFS=' '; printf '%s\\n' "$*" >&8; }
exec 8>>"$MADRUN_BOX/steps" 9<> <(:)
nap() { local _; IFS= read -r -t "$1" -u 9 _; }
"""


@pytest.fixture
def look(tmp_path):
    """Runs the shell text as the driver does; `limits` is shell text before it."""
    libraries = tmp_path / "lib dir"
    programs = tmp_path / "bin"
    (libraries / "libibverbs").mkdir(parents=True)
    programs.mkdir()

    def run(wanted="mlx5", files=(), devinfo=None, limits="", env=None):
        for name in files:
            (libraries / name).touch()
        if devinfo is not None:
            (programs / "ibv_devinfo").write_text(f"#!/bin/bash\n{devinfo}")
            (programs / "ibv_devinfo").chmod(0o755)
        env = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "LD_LIBRARY_PATH": f":{libraries}",
            "MADRUN_FABRIC": wanted,
            **(env or {}),
        }
        subprocess.run(["bash", "-c", _AROUND + limits + "\n" + SCRIPT, "_", tmp_path], env=env, check=True)
        steps = (tmp_path / "steps").read_text() if (tmp_path / "steps").exists() else ""
        (tmp_path / "steps").unlink()
        return parse(steps.removeprefix("inside ")) if steps else None

    return run


def test_limits_and_shared_memory_are_those_of_the_place(look):
    found = look(limits="ulimit -n 512; ulimit -l 1024")
    assert found.nofile == 512
    assert found.capable or found.memlock == 1 << 20
    lines = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    options = [line[3] for line in lines if line[1] == "/dev/shm"]
    assert (found.shm is not None) == ("size=" in "".join(options[-1:]))
    if found.shm is not None:
        assert found.shm == os.statvfs("/dev/shm").f_blocks * os.statvfs("/dev/shm").f_frsize


def test_libraries_and_plug_ins_are_found_where_the_loader_is_told_to_look(look):
    assert look(wanted="zz").providers == ()
    files = ("libibverbs.so.1", "librdmacm.so.1", "libibverbs/libmlx5-rdmav34.so", "libbnxt_re-rdmav59.so")
    found = look(wanted="mlx5 bnxt_re irdma_not_there", files=files)
    assert found.libraries == ("libibverbs.so.1", "librdmacm.so.1")
    assert found.wanted == ("mlx5", "bnxt_re", "irdma_not_there")
    assert found.providers == ("mlx5", "bnxt_re")
    assert look(wanted="-").wanted == ()


def test_the_words_of_ibv_devinfo_are_kept_and_its_active_ports_counted(look):
    text = "cat <<END\nhca_id:\tmlx5_0\n\tport:\t1\n\t\tstate:\t\tPORT_ACTIVE (4)\nhca_id: mlx5_1\n"
    text += "\t\tstate:\t\tPORT_DOWN (1)\nEND\n"
    found = look(devinfo=text)
    assert (found.devinfo, found.active) == (0, ("mlx5_0",))
    found = look(devinfo="echo No IB devices found >&2; exit 255\n")
    assert (found.devinfo, found.active, found.said) == (255, (), "No IB devices found")


def test_variables_of_the_image_that_nccl_heeds_are_told(look):
    assert look(env={"NCCL_IB_DISABLE": "1", "NCCL_NET": "Soc ket"}).nccl == (
        ("NCCL_IB_DISABLE", "1"),
        ("NCCL_NET", "Socket"),
    )
    assert look().nccl == ()


def test_the_driver_of_a_single_node_does_not_look():
    assert "look_inside" not in render("one", "true", 1)
    text = render("one", "true", 1, inside=SCRIPT)
    assert text.index("look_inside() {") < text.index("say ready")
    assert "@INSIDE@" not in text + render("one", "true", 1)


@given(st.text())
def test_no_words_break_the_reader(text):
    found = parse(text)
    assert found.memlock is None or found.memlock >= UNLIMITED
    assert describe(found)
    assert obstacles(Inside()) or not obstacles(found)


@given(st.integers(0, 1 << 40), st.sampled_from(["", "k", "m", "g"]))
def test_sizes_are_read_as_mounts_prints_them(number, unit):
    assert parse(f"shm={number}{unit}").shm == number << {"": 0, "k": 10, "m": 20, "g": 30}[unit]


def test_a_place_that_has_everything_has_no_obstacle_and_is_described():
    assert obstacles(GOOD) == []
    assert describe(GOOD) == (
        "memlock unlimited, nofile 1048576, /dev/shm 64.0 MiB, devices uverbs0, libraries libibverbs.so.1, "
        "providers mlx5, ibv_devinfo absent"
    ).replace("64.0", "64")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"devices": ()}, "no /dev/infiniband/uverbs* can be opened"),
        ({"memlock": 64 << 10}, "ulimit -l is 64 KiB"),
        ({"memlock": LEAST_MEMLOCK - 1}, "give memlock unlimited in the context"),
        ({"libraries": ("librdmacm.so.1",)}, "no libibverbs.so.1 in the library directories"),
        ({"devinfo": 255, "said": "No IB"}, "ibv_devinfo fails with code 255 (No IB)"),
        ({"devinfo": 0}, "ibv_devinfo sees no active port"),
        ({"nccl": (("NCCL_IB_DISABLE", "1"),)}, "NCCL_IB_DISABLE=1 stands in the environment"),
        ({"nccl": (("NCCL_NET", "Socket"),)}, "NCCL_NET=Socket stands in the environment"),
    ],
)
def test_what_is_lacking_is_named_with_what_to_do(changes, words):
    values = {name: getattr(GOOD, name) for name in GOOD.__dataclass_fields__} | changes
    (found,) = obstacles(Inside(**values))
    assert words in found


@pytest.mark.parametrize(
    "changes",
    [
        {"memlock": LEAST_MEMLOCK},
        {"memlock": None},
        {"providers": ()},
        {"providers": (), "devinfo": 0, "active": ("mlx5_0",)},
        {"nccl": (("NCCL_IB_DISABLE", "0"), ("NCCL_NET", "IB"))},
    ],
)
def test_what_is_proven_otherwise_or_not_known_stands_in_nobodys_way(changes):
    values = {name: getattr(GOOD, name) for name in GOOD.__dataclass_fields__} | changes
    assert obstacles(Inside(**values)) == []


def test_a_plug_in_that_is_not_found_is_a_doubt_unless_a_port_was_seen_active():
    values = {name: getattr(GOOD, name) for name in GOOD.__dataclass_fields__} | {"providers": ()}
    assert "libmlx5-rdmav*.so not found" in doubts(Inside(**values))[0]
    assert doubts(Inside(**values | {"active": ("mlx5_0",)})) == doubts(GOOD) == []


def test_the_plug_ins_are_those_of_the_adapters_drivers():
    hcas = [
        Hca(name="a", driver="mlx5_core"),
        Hca(name="b", driver="mlx5_core"),
        Hca(name="c", driver="bnxt_en"),
        Hca(name="d", vendor="0x1dd8"),
        Hca(name="e", driver="unheard_of"),
    ]
    assert providers(hcas) == ("mlx5", "bnxt_re", "ionic")
