"""Which images of the launching host the runs of a launch will use."""

import pytest

from madrun.cli import headimages
from madrun.cli.headimages import images_of
from madrun.cli.options import RunOptions
from madrun.cli.repository import chosen_of, read_catalogue
from madrun.cli.request import make_request
from madrun.errors import EngineError
from madrun.spec.facts import Engine


@pytest.fixture
def images(write_card, repository, make_facts, tmp_path, monkeypatch):
    """Asks for those of all cards, on a host with an engine."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(headimages.shutil, "which", lambda name: f"/usr/bin/{name}")
    engine = Engine(name="docker", version="27.0", host="unix:///var/run/docker.sock", architecture="amd64")
    monkeypatch.setattr(headimages, "look", lambda *_: (make_facts(engine=engine), None))

    def ask(**options):
        request = make_request(RunOptions(tags=["all"], repo=str(repository), **options))
        return images_of(request, repository, chosen_of(request, read_catalogue(repository)))

    return ask


def test_ready_images_of_all_cards_are_named_once_and_nothing_is_planned(images, write_card, monkeypatch):
    for name, image in (("one", "a:1"), ("two", "b:1"), ("three", "a:1")):
        write_card(name, yaml=f"images: {{cpu: {{image: '{image}'}}}}\n")
    monkeypatch.setattr(headimages, "look", lambda *_: pytest.fail("planned"))
    assert sorted(images()) == ["a:1", "b:1"]


def test_an_image_that_is_built_has_the_name_of_its_recipe_however_many_nodes_there_are(images, write_card):
    card = write_card(yaml="images: {cpu: {dockerfile: cpu.Dockerfile, base: 'base:1'}}\n")
    card.with_name("cpu.Dockerfile").write_text("ARG BASE_DOCKER\nFROM $BASE_DOCKER\n")
    (name,) = images()
    assert name.startswith("madrun/cpu:")
    nodes = "{'multi_node_args': {'NNODES': '8', 'MASTER_ADDR': '192.0.2.1', 'MASTER_PORT': '29501'}}"
    assert images(additional_context=nodes) == (name,)
    card.with_name("cpu.Dockerfile").write_text("ARG BASE_DOCKER\nFROM $BASE_DOCKER\nRUN true\n")
    assert images() != (name,)


def test_a_card_that_cannot_be_planned_here_is_left_to_the_nodes(images, write_card):
    write_card("gpu", yaml="images: {amd: {dockerfile: no.Dockerfile, base: 'base:1'}}\n")
    write_card("one", yaml="images: {cpu: {image: 'a:1'}}\n")
    assert images() == ("a:1",)


def test_a_host_without_an_engine_has_no_images(images, write_card, monkeypatch):
    card = write_card(yaml="images: {cpu: {dockerfile: cpu.Dockerfile, base: 'base:1'}}\n")
    card.with_name("cpu.Dockerfile").write_text("ARG BASE_DOCKER\nFROM $BASE_DOCKER\n")

    def none(*_):
        raise EngineError("none")

    monkeypatch.setattr(headimages, "look", none)
    assert images() == ()
    monkeypatch.setattr(headimages.shutil, "which", lambda name: None)
    assert images() == ()
