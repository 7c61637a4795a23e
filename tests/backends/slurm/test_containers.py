"""Nodes that are containers from the start: the words for pyxis and apptainer, by their own documentation."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.backends.slurm.containers import apptainer_image, enroot_image, front_words, srun_words
from madrun.backends.slurm.settings import read
from madrun.errors import ContextError

GOLDEN = Path(__file__).parent / "golden"
MOUNTS = {"/data": "/nfs/data:ro", "/scratch": "/local/scratch"}
CASES = {
    "pyxis": {"mounts": MOUNTS},
    "pyxis-amd": {"image": "rocm/pytorch:latest", "vendor": "amd", "madrun": "installed"},
    "apptainer": {"mounts": MOUNTS, "apptainer": ["--writable-tmpfs"]},
    "apptainer-nvidia": {"image": "/nfs/images/torch.sif", "vendor": "nvidia", "gpus_per_node": 8},
    "apptainer-amd": {"image": "docker://rocm/pytorch:latest", "vendor": "amd", "madrun": "installed"},
}


def words_of(launch, **values):
    settings, _ = read(values, 2, {})
    made = launch(backend="slurm")
    return srun_words(made, settings), front_words(made, settings)


@pytest.mark.parametrize("name", CASES)
def test_the_words_are_those_that_are_written_down(launch, name):
    in_srun, in_front = words_of(launch, containers=name.partition("-")[0], **CASES[name])
    text = (
        "srun\n" + "".join(f"  {word}\n" for word in in_srun) + "front\n" + "".join(f"  {word}\n" for word in in_front)
    )
    assert text == (GOLDEN / f"{name}.txt").read_text()


def test_with_docker_a_node_is_the_host(launch):
    assert words_of(launch) == ((), ())


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("ubuntu:22.04", "ubuntu:22.04"),
        ("rocm/pytorch:latest", "rocm/pytorch:latest"),
        ("nvcr.io/nvidia/pytorch:25.10-py3", "nvcr.io#nvidia/pytorch:25.10-py3"),
        ("docker://ghcr.io/a/b", "ghcr.io#a/b"),
        ("localhost/a:1", "localhost#a:1"),
        ("registry:5000/a/b:1", "registry:5000#a/b:1"),
        ("nvcr.io#nvidia/pytorch:1", "nvcr.io#nvidia/pytorch:1"),
        ("/nfs/torch.sqsh", "/nfs/torch.sqsh"),
        ("./torch.sqsh", "./torch.sqsh"),
    ],
)
def test_enroot_has_the_registry_apart_from_the_name(name, taken):
    assert enroot_image(name) == taken


@given(st.from_regex(r"([a-z]+\.[a-z]+(:[0-9]{1,4})?/)?[a-z]+(/[a-z]+)?(:[a-z0-9]+)?", fullmatch=True))
def test_nothing_of_a_name_is_lost_on_the_way_to_enroot(name):
    assert enroot_image(name).replace("#", "/") == name


def test_a_digest_is_refused_for_enroot_takes_none():
    with pytest.raises(ContextError, match=r"slurm\.image: found a/b@sha256:00, allowed with pyxis: a name with a tag"):
        enroot_image("a/b@sha256:00")


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("rocm/pytorch:1", "docker://rocm/pytorch:1"),
        ("oras://x/y", "oras://x/y"),
        ("/nfs/a.sif", "/nfs/a.sif"),
        ("./a.sif", "./a.sif"),
        ("a@sha256:00", "docker://a@sha256:00"),
    ],
)
def test_apptainer_takes_a_path_or_an_address(name, taken):
    assert apptainer_image(name) == taken


@pytest.mark.parametrize("containers", ["pyxis", "apptainer"])
@pytest.mark.parametrize("path", ["/a,b", "/a b", "/a:b", "relative"])
def test_a_path_that_the_list_of_mounts_cannot_hold_is_refused(launch, containers, path):
    with pytest.raises(ContextError, match="cannot mount"):
        words_of(launch, containers=containers, mounts={path: "/nfs/data"})


def test_gpus_in_an_unknown_image_need_its_vendor(launch):
    settings, _ = read({"containers": "apptainer", "image": "/a.sif", "gpus_per_node": 8}, 2, {})
    with pytest.raises(ContextError, match=r"slurm\.vendor: is missing beside slurm\.image"):
        front_words(launch(backend="slurm", images={}), settings)


def test_a_card_without_a_ready_image_needs_one_to_be_named(launch):
    settings, _ = read({"containers": "pyxis"}, 2, {})
    with pytest.raises(ContextError, match=r"slurm\.image: is missing"):
        srun_words(launch(backend="slurm", images={"cpu": ""}), settings)
