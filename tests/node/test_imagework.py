"""The image of a run: watched while it is fetched, and held against this host's driver. The engine is a fake."""

import threading
from dataclasses import replace

import pytest

from madrun.errors import EngineError
from madrun.node import imagework
from madrun.node.imagework import image_notes, obtain
from madrun.node.task import Task
from madrun.runtimes import images
from madrun.spec.facts import Accelerator, Gpu
from madrun.spec.plan import ImagePlan

H200 = Accelerator(vendor="nvidia", gpus=(Gpu(index=0),), driver="550.54.15", stack="12.4")


@pytest.fixture
def task(tmp_path, make_job, make_test_plan, make_facts):
    def make(accelerator, **env):
        job = make_job(runtime="docker", image=ImagePlan(kind="ready", name="nvcr.io/x:1"), env=env)
        return Task(
            plan=make_test_plan(job),
            index=0,
            results=tmp_path,
            secrets={},
            facts=make_facts(accelerator=accelerator),
            files={},
            image_context={},
            lock_dir=tmp_path,
            engine=object(),
            command=(),
            provenance=dict,
        )

    return make


@pytest.fixture
def image(monkeypatch):
    """Makes `ensure` give an image with this environment at once."""

    def ready(**env):
        prepared = images.Prepared("sha256:1", "sha256:1", 0.0, "found", env=env)
        monkeypatch.setattr(imagework.images, "ensure", lambda *_: prepared)
        return prepared

    return ready


class Silent:
    def line(self, _text):
        pass


def nothing():
    pass


def test_an_image_that_needs_a_newer_driver_is_refused_before_it_starts(task, image, tmp_path):
    image(NVIDIA_REQUIRE_CUDA="cuda>=12.8")
    with pytest.raises(
        EngineError, match=r"image nvcr.io/x:1 needs another driver: .*550.54.15, which supports CUDA 12.4"
    ):
        obtain(task(H200), tmp_path / "build.log", nothing, Silent())


def test_the_switch_of_the_toolkit_works_from_the_context_too(task, image, tmp_path):
    prepared = image(NVIDIA_REQUIRE_CUDA="cuda>=12.8")
    assert obtain(task(H200, NVIDIA_DISABLE_REQUIRE="1"), tmp_path / "build.log", nothing, Silent()) is prepared


def test_a_rocm_far_from_the_hosts_is_worth_a_note(task, image):
    amd = Accelerator(vendor="amd", gpus=(Gpu(index=0),), driver="6.8.5", stack="6.2.0")
    (note,) = image_notes(task(amd), image(ROCM_VERSION="7.0.0"))
    assert "ROCm 7.0.0" in note
    assert image_notes(task(amd), image(ROCM_VERSION="6.2.4")) == ()


def test_an_image_that_is_not_that_of_the_repeated_run_is_a_note(task, image):
    amd = Accelerator()
    again = replace(task(amd), image_then="sha256:0")
    assert image_notes(again, image()) == ("changed since: image sha256:0 -> sha256:1",)
    said = replace(again, notes=("changed since: image sha256:0 -> sha256:1",))
    assert image_notes(said, image()) == ()
    assert image_notes(replace(again, image_then="sha256:1"), image()) == ()


def test_what_is_under_way_for_an_image_ends_with_the_run(task, monkeypatch, tmp_path):
    seen = threading.Event()

    def slow(_place, _image, _context, watch):
        with watch.stop.ends(seen.set):
            assert seen.wait(60)

    class Ended(Exception):
        pass

    def check():
        raise Ended

    monkeypatch.setattr(imagework.images, "ensure", slow)
    with pytest.raises(Ended):
        obtain(task(H200), tmp_path / "build.log", check, Silent())
    assert seen.wait(60)
