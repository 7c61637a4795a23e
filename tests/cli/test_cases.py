"""One card of a MAD repository becomes one case for each Dockerfile that fits."""

import json
from dataclasses import replace

import pytest

from madrun.cli.cases import cases_of, is_of_header
from madrun.errors import CardError
from madrun.registry.catalogue import load
from madrun.spec.context import Context, Layer
from madrun.spec.facts import Engine

ENGINE = Engine(name="docker", version="1", host="unix:///x.sock")


def card(tmp_path, files, **more):
    (tmp_path / "docker").mkdir()
    (tmp_path / "scripts").mkdir()
    for name, header in files.items():
        (tmp_path / "docker" / name).write_text(f"{header}\nFROM scratch\n")
    entry = {"name": "x", "dockerfile": "docker/x", "scripts": "scripts/run.sh", "n_gpus": "1", "args": "", **more}
    (tmp_path / "models.json").write_text(json.dumps([entry]))
    (found,) = load(tmp_path).cards
    return found


def cases(one, facts, *layers):
    return [case.images["cpu"] for case in cases_of(one, Context(), facts, [Layer("l", layer) for layer in layers])]


def test_every_dockerfile_that_fits_is_a_case(tmp_path, make_facts):
    one = card(tmp_path, {"x.a": "# CONTEXT {'mine': '1'}", "x.b": "# CONTEXT {'mine': '2'}", "x.amd.c": ""})
    facts = make_facts(engine=ENGINE)
    assert [image.dockerfile for image in cases(one, facts)] == ["docker/x.a", "docker/x.b"]
    assert [image.dockerfile for image in cases(one, facts, {"mine": "1"}, {"mine": "2"})] == ["docker/x.b"]
    said = {"gpu_vendor": "AMD", "mine": 3}
    assert [image.dockerfile for image in cases(one, facts, said)] == ["docker/x.amd.c"]


def test_a_key_of_a_header_is_not_without_effect(tmp_path):
    one = card(tmp_path, {"x.a": "# CONTEXT {'mine': '1'}"})
    assert is_of_header(one, "--additional-context: unknown key mine has no effect; known: x")
    assert not is_of_header(one, "--additional-context: unknown key other has no effect; known: x")


def test_a_card_may_name_a_ready_image(tmp_path, make_facts):
    one = card(tmp_path, {}, dockerfile="", env_vars={"DOCKER_IMAGE_NAME": "ready:1"})
    assert [image.image for image in cases(one, make_facts(engine=ENGINE))] == ["ready:1"]


def test_a_card_in_trouble_is_no_case(tmp_path, make_facts):
    one = replace(card(tmp_path, {"x.a": "# CONTEXT {}"}), trouble="its hook raised")
    with pytest.raises(CardError, match="its hook raised"):
        cases(one, make_facts(engine=ENGINE))
