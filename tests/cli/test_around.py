"""What stands around the script of a MAD card, from context, tools.json and the card itself."""

import json
from dataclasses import replace

import pytest

from madrun.cli.around import scene_of, with_tools
from madrun.cli.cardfacts import work_files
from madrun.errors import CardError
from madrun.registry.mad.tools import Stack
from madrun.spec.card import Card
from madrun.spec.context import Context, Origin
from madrun.spec.mad import MadCard, Step, Tool


@pytest.fixture
def card(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "scripts/one").mkdir(parents=True)
    (tmp_path / "scripts/one/run.sh").write_text("echo")
    (tmp_path / "scripts/one/perf.csv").write_text("old")

    def made(url="", **more):
        mad = MadCard(short="one", dockerfile="docker/one", url=url)
        folder = str(tmp_path / "scripts/one")
        return Card(
            name="one", folder=folder, repository=str(tmp_path), source="m.json", script="run.sh", mad=mad, **more
        )

    return made


def test_the_variables_of_a_tool_stand_below_those_of_the_context_and_say_where_they_came_from(card, tmp_path):
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"tools": {"t": {"cmd": "trace", "env_vars": {"A": "tool", "B": "tool"}}}}))
    context = Context(tools=(Tool(name="t"),), docker_env_vars={"A": "mine"}, encapsulate_script="nice")
    origins = [Origin("docker_env_vars.A", (("--env", "mine"),))]
    (found, said, warnings), stack = with_tools(card(), (context, origins, []), str(file))
    assert found.docker_env_vars == {"A": "mine", "B": "tool"}
    assert stack.front == "trace nice"
    assert warnings == []
    assert {origin.key: origin.said for origin in said} == {
        "docker_env_vars.A": (("tool t", "tool"), ("--env", "mine")),
        "docker_env_vars.B": (("tool t", "tool"),),
    }


def test_the_context_alone_needs_no_tools_file(card):
    context = Context(pre_scripts=(Step(path="a"),), encapsulate_script="nice")
    _, stack = with_tools(card(), (context, [], []), None)
    assert (stack.pre, stack.front) == ((Step(path="a"),), "nice")


def test_a_native_card_says_what_has_no_effect_on_it():
    native = Card(name="n", folder="/f", repository="/f", source="s", script="run.sh")
    (_, _, warnings), stack = with_tools(native, (Context(encapsulate_script="nice"), [], []), None)
    assert warnings == ["encapsulate_script has no effect on n, which is no card of a MAD repository"]
    assert stack == Stack()


def test_an_earlier_result_in_the_scripts_folder_is_no_file_of_the_run(card):
    assert list(work_files(card(multiple_results="perf.csv"))) == ["run_directory/run.sh"]
    assert list(work_files(card(url="https://h/x/widget.git"))) == ["widget/perf.csv", "widget/run.sh"]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://h/..", "allowed: one that ends with a name"),
        ("https://ada:word@h/x/widget", "url holds a password"),
        ("https://ghp_0123456789abcdefghij-word@h/x/widget", "url holds a password or token"),
    ],
)
def test_an_address_that_cannot_be_used_is_an_error_of_the_card(card, url, words):
    with pytest.raises(CardError, match=words) as caught:
        scene_of(card(url), Context(), Stack(), {}, True)
    assert "word@" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "directory"),
    [
        ("", "run_directory"),
        ("https://h/x/widget", "widget"),
        ("https://h/x/widget.git/", "widget"),
        ("git@h:widget.git", "widget"),
        ("ssh://git@h:22/x/widget", "widget"),
    ],
)
def test_the_last_part_of_the_address_names_the_directory(card, url, directory):
    made = card(url)
    assert made.mad.directory == directory
    scene_of(made, Context(), Stack(), {}, True)


def test_on_the_host_itself_links_lead_into_the_checkout_and_the_run_says_so(card):
    assert "as links" in scene_of(card(), Context(), Stack(), {}, False).notes[0]
    assert scene_of(card(), Context(checkout="copy"), Stack(), {}, False).notes == ()


def test_a_change_of_what_the_script_uses_of_common_is_a_change_of_its_job(card, tmp_path):
    shared = tmp_path / "scripts/common/x.sh"
    shared.parent.mkdir()
    (tmp_path / "scripts/one/run.sh").write_text("bash ../scripts/common/x.sh")

    def common(text):
        shared.write_text(text)
        return scene_of(card(), Context(), Stack(), work_files(card()), True).common

    assert common("echo 1") == common("echo 1") != common("echo 2")


def test_a_script_in_the_root_finds_its_folder_but_no_results_and_no_credentials(card, tmp_path):
    at_root = replace(card(), folder=str(tmp_path), script="root.sh")
    for name in ("root.sh", "credential.json", "perf.csv", "perf_x.csv"):
        (tmp_path / name).write_text("x")
    (tmp_path / "results/runs/20261121T132957Z-one-7b9f02-1").mkdir(parents=True)
    (tmp_path / "results/runs/20261121T132957Z-one-7b9f02-1/record.json").write_text("{}")
    (tmp_path / "far").symlink_to("/usr")
    names = ("root.sh", "scripts/one/perf.csv", "scripts/one/run.sh")
    assert list(work_files(at_root)) == [f"run_directory/{name}" for name in names]
