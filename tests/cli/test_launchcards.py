"""Of which cards a launch is: those of tags, of a manifest, or that of a saved plan."""

import json

import pytest

from madrun.cli.launchcards import launched_cards, manifest_layer
from madrun.cli.madoptions import RepositoryOptions
from madrun.cli.options import RunOptions
from madrun.cli.request import make_request
from madrun.errors import ContextError, UsageError


def names(cards):
    return [card.name for card in cards]


def test_of_tags(write_card, repository):
    write_card("a")
    write_card("b", "tags: [llm]\n")
    cards, nnodes = launched_cards(make_request(RunOptions(tags=["llm"])), repository)
    assert (names(cards), nnodes) == (["b"], None)


def test_of_a_saved_plan_also_how_many_nodes(write_card, repository, tmp_path, monkeypatch):
    write_card("a")
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"job": {"card": "a", "nnodes": 2}}))
    request = make_request(RunOptions(), str(plan))
    with pytest.raises(ContextError, match=r"--plan: .*plan.json holds no plan"):  # it is read to the end here
        launched_cards(request, repository)
    monkeypatch.setattr("madrun.cli.launchplan.check_plan", lambda file, place: None)
    cards, nnodes = launched_cards(request, repository)
    assert (names(cards), nnodes) == (["a"], 2)


@pytest.mark.parametrize("text", ['{"job": {"card": "gone", "nnodes": 2}}', '{"job": 7}', "[]", "cut"])
def test_a_plan_of_no_card_of_the_repository_is_refused(write_card, repository, tmp_path, text):
    write_card("a")
    plan = tmp_path / "plan.json"
    plan.write_text(text)
    with pytest.raises(UsageError, match=r"--plan: .*plan.json is of card .*, which .* lacks"):
        launched_cards(make_request(RunOptions(), str(plan)), repository)


def test_of_a_manifest_also_what_it_says_of_its_deployment(write_card, repository, tmp_path):
    write_card("a")
    write_card("b")
    manifest = tmp_path / "m.json"
    images = {"a": {"docker_image": "example/a:1", "local_image": True}}
    deployment = {"slurm": {"partition": "gpu"}}
    models = {"a": {"name": "a"}}
    manifest.write_text(
        json.dumps({"built_images": images, "built_models": models, "context": {}, "deployment_config": deployment})
    )
    request = make_request(RunOptions(), repository=RepositoryOptions(manifest_file=str(manifest)))
    assert names(launched_cards(request, repository)[0]) == ["a"]
    (layer,) = manifest_layer(request)
    assert layer.values["slurm"] == {"partition": "gpu"}
    assert manifest_layer(make_request(RunOptions(tags=["a"]))) == []
