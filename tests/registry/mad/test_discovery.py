"""The cards of a repository in all three forms."""

import json
import os

import pytest

from madrun.registry.mad import discovery
from madrun.registry.mad.discovery import read_repository, updated

IMPORT = "from madengine.utils.discover_models import CustomModel\n"


def entry(name, **more):
    return {"name": name, "dockerfile": "docker/x", "scripts": "run.sh", "n_gpus": "1", "args": "", **more}


@pytest.fixture
def write(tmp_path):
    """Writes a file of the repository; what is no text is written as JSON."""

    def make(name, content):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content if isinstance(content, str) else json.dumps(content, indent=1))
        return file

    make("models.json", [])
    return make


def names(found):
    return [card.name for card in found.cards]


def only_error(found):
    (error,) = found.broken
    return str(error)


def test_all_three_forms_are_found_at_any_depth_with_their_folder_in_the_name(write, tmp_path):
    write("models.json", [entry("root")])
    write("scripts/b/models.json", [entry("nested", dockerfile="../../docker/x")])
    write("scripts/a/deep/er/models.json", [entry("inner")])
    write(
        "scripts/gen/get_models_json.py", f"{IMPORT}def list_models():\n    return [CustomModel('m', 'd', 'run.sh')]\n"
    )
    found = read_repository(tmp_path)
    assert found.broken == []
    assert names(found) == ["root", "a/deep/er/inner", "b/nested", "gen/m"]
    assert found.cards[2].mad.dockerfile == "docker/x"
    assert found.cards[1].folder == f"{tmp_path}/scripts/a/deep/er"
    assert (found.cards[3].timeout_s, found.cards[3].mad.n_gpus) == (7200.0, "-1")
    assert found.cards[3].source == f"{tmp_path}/scripts/gen/get_models_json.py"


def test_both_forms_in_one_folder_are_an_error_and_neither_is_read(write, tmp_path):
    write("scripts/a/models.json", [entry("x")])
    write("scripts/a/get_models_json.py", "raise SystemExit\n")
    found = read_repository(tmp_path)
    assert names(found) == []
    assert (
        only_error(found)
        == f"{tmp_path}/scripts/a: found models.json and get_models_json.py, allowed: one of them; neither is read"
    )


def test_a_file_that_is_no_json_is_named_with_line_and_column_and_hides_nothing(write, tmp_path):
    write("scripts/a/models.json", '[\n {"name": "x",}\n]')
    write("scripts/b/models.json", [entry("y")])
    found = read_repository(tmp_path)
    assert names(found) == ["b/y"]
    assert only_error(found).startswith(f"{tmp_path}/scripts/a/models.json:2:15: not JSON")


def test_a_card_that_is_wrong_is_named_with_its_line_and_hides_nothing(write, tmp_path):
    write(
        "models.json",
        '[\n {"name": "a", "dockerfile": "d"},\n' + json.dumps(entry("b")) + ',\n {"name": 5,\n  "args": []}, 7]',
    )
    found = read_repository(tmp_path)
    file = tmp_path / "models.json"
    assert names(found) == ["b"]
    assert [str(error) for error in found.broken] == [
        f"{file}:2: a: scripts: is missing and has no default, allowed: text",
        f"{file}:4: scripts: is missing and has no default, allowed: text",
        f"{file}:5: found 7 (int), allowed: an object with name, dockerfile, scripts and so on",
    ]
    assert [error.card for error in found.broken] == ["a", "", ""]


def test_many_wrong_cards_in_one_file_take_no_longer_than_right_ones(write, tmp_path):
    write("models.json", [entry(f"m{index}", n_gpus="x") for index in range(1000)])
    found = read_repository(tmp_path)
    assert len(found.broken) == 1000
    assert ":6999: m999: n_gpus: found 'x'" in str(found.broken[-1])


@pytest.mark.parametrize(("folder", "is_error"), [("a", True), ("vendor/tree/zoo", False)])
def test_a_file_without_a_list_is_an_error_beside_cards_and_a_note_deep_in_a_tree(write, tmp_path, folder, is_error):
    file = write(f"scripts/{folder}/models.json", {"weights": 1})
    found = read_repository(tmp_path)
    said = only_error(found) if is_error else found.notes[0][1]
    assert said.startswith(f"{file}: found dict, allowed: a list of cards")
    assert bool(found.notes) != is_error


@pytest.mark.parametrize("folder", ["a b", "-x", "a:b", "é"])
def test_a_folder_that_no_tag_can_name_is_an_error(write, tmp_path, folder):
    write(f"scripts/{folder}/models.json", [entry("x")])
    assert f"found the folder {folder!r}, allowed: letters" in only_error(read_repository(tmp_path))


def test_a_file_in_scripts_itself_has_no_folder_to_be_named_after(write, tmp_path):
    write("scripts/models.json", [entry("x")])
    assert "lies in scripts itself" in only_error(read_repository(tmp_path))


def test_folders_of_tools_and_hidden_ones_are_not_entered(write, tmp_path):
    for folder in (".git", "__pycache__", ".hidden"):
        write(f"scripts/{folder}/models.json", [entry("x")])
        write(f"scripts/a/{folder}/models.json", [entry("x")])
    assert names(read_repository(tmp_path)) == []


def test_links_are_followed_but_never_in_circles(write, tmp_path):
    write("elsewhere/models.json", [entry("x")])
    write("scripts/b/models.json", [entry("y")])
    (tmp_path / "scripts/a").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/up").symlink_to(tmp_path)
    (tmp_path / "elsewhere/other").symlink_to(tmp_path / "scripts/b")
    (tmp_path / "scripts/b/back").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "scripts/b/here").symlink_to(".")
    (tmp_path / "scripts/itself").symlink_to("itself")
    (tmp_path / "scripts/nowhere").symlink_to("nothing")
    found = names(read_repository(tmp_path))
    assert found == ["a/x", "a/other/y", "b/y", "b/back/x"]


def test_a_folder_that_cannot_be_entered_is_a_note(write, tmp_path, monkeypatch):
    write("scripts/a/models.json", [entry("x")])
    write("scripts/b/models.json", [entry("y")])
    scandir = os.scandir

    def closed(path):
        if path == tmp_path / "scripts/a":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    found = read_repository(tmp_path)
    assert names(found) == ["b/y"]
    assert found.notes == [(tmp_path / "scripts/a", "cannot be entered, so cards in it are not seen")]


def test_an_escape_that_hides_what_no_process_can_be_given_is_found(write, tmp_path):
    write("models.json", '[{"name": "a", "dockerfile": "d", "scripts": "s", "owner": "\\ud800"}]')
    assert ":1: a: owner: found '\\ud800'" in only_error(read_repository(tmp_path))


def test_what_a_generator_says_is_a_note_and_what_it_does_wrong_an_error(write, tmp_path):
    good = write(
        "scripts/a/get_models_json.py", f"import sys\n{IMPORT}sys.stderr.write('hm')\ndef list_models(): return []\n"
    )
    bad = write(
        "scripts/b/get_models_json.py",
        f"{IMPORT}def list_models():\n"
        "    return [CustomModel('x', 'd', 'run.sh', 'many'), CustomModel('y', 'd', 'run.sh')]\n",
    )
    found = read_repository(tmp_path)
    assert found.notes == [(good, "hm")]
    assert names(found) == ["b/y"]
    assert only_error(found).startswith(f"{bad}: x: n_gpus: found 'many'")
    assert found.broken[0].card == "b/x"


def test_without_a_limit_no_generator_runs(write, tmp_path):
    write("scripts/a/get_models_json.py", f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    assert names(read_repository(tmp_path, None)) == []
    assert not (tmp_path / "ran").exists()


HOOK = (
    f"{IMPORT}"
    "class Mine(CustomModel):\n"
    "    def update_model(self):\n"
    "        self.args = 'now'\n"
    "        if self.name == 'bad':\n"
    "            self.timeout = 'x'\n"
    "def list_models():\n"
    "    return [Mine(name=n, dockerfile='d', scripts='run.sh') for n in ('a', 'b', 'bad')]\n"
)


def test_the_hook_changes_the_cards_that_are_selected(write, tmp_path):
    write("scripts/g/get_models_json.py", HOOK)
    found = read_repository(tmp_path)
    assert found.hooked == {"g/a", "g/b", "g/bad"}
    assert [card.args for card in found.cards] == ["", "", ""]
    changed = updated(found.cards[1:2], tmp_path, 20.0)
    assert {name: card.args for name, card in changed.items()} == {"g/b": "now"}
    changed = updated(found.cards[1:], tmp_path, 20.0)
    assert {name: card.args for name, card in changed.items() if not card.trouble} == {"g/b": "now"}
    assert "get_models_json.py: bad: timeout: found 'x'" in changed["g/bad"].trouble


def test_a_hook_that_raises_puts_its_cards_in_trouble_and_no_others(write, tmp_path):
    write("scripts/g/get_models_json.py", HOOK)
    write("scripts/h/get_models_json.py", HOOK.replace("self.args = 'now'", "raise RuntimeError('no checkout')"))
    found = read_repository(tmp_path)
    changed = updated(found.cards, tmp_path, 20.0)
    assert [name for name in sorted(changed) if changed[name].trouble] == ["g/bad", "h/a", "h/b", "h/bad"]
    assert "no checkout" in changed["h/a"].trouble


def test_a_folder_that_only_lacks_the_roots_file_is_told_apart(tmp_path, write):
    write("scripts/a/models.json", [])
    assert not discovery.lacks_root(tmp_path)
    (tmp_path / "models.json").unlink()
    assert discovery.lacks_root(tmp_path)
