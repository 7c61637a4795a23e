"""`madrun list` in a MAD repository."""

import json
from types import SimpleNamespace

import pytest

from madrun.cli.app import run

ENTRY = {"name": "a", "dockerfile": "docker/x", "scripts": "scripts/a/run.sh", "n_gpus": "-1", "args": ""}


@pytest.fixture
def zoo(tmp_path):
    """A repository with two cards; changes of the second, and more entries, may be given."""

    def make(*more, **changes):
        (tmp_path / "zoo/scripts/a").mkdir(parents=True)
        (tmp_path / "zoo/scripts/a/run.sh").touch()
        entries = [ENTRY, {**ENTRY, "name": "b", "n_gpus": "4", "tags": "x,y", **changes}, *more]
        (tmp_path / "zoo/models.json").write_text(json.dumps(entries, indent=1))
        return tmp_path / "zoo"

    return make


@pytest.fixture
def quick(repository, monkeypatch, capsys):
    """The command in this process, which starts no interpreter; otherwise as `madrun`."""

    def call(*words, cwd=repository, **env):
        with monkeypatch.context() as patch:
            patch.chdir(cwd)
            for name, value in env.items():
                patch.setenv(name, value)
            code = run(list(words))
        return SimpleNamespace(returncode=code, **capsys.readouterr()._asdict())

    return call


@pytest.mark.parametrize("word", ["list", "discover"])
def test_cards_are_listed_with_tags_gpus_and_script(madrun, zoo, word):
    done = madrun(word, cwd=zoo({**ENTRY, "name": "c", "n_gpus": 1, "is_deprecated": True}))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "a       all GPUs  scripts/a/run.sh",
        "b  x,y  4 GPUs    scripts/a/run.sh",
        "c       1 GPU     scripts/a/run.sh  deprecated",
    ]


def test_the_repository_may_be_elsewhere_by_flag_or_by_model_dir(quick, zoo, write_card):
    write_card("native")
    folder = str(zoo())
    assert quick("list").out.split()[0] == "native"
    assert quick("list", MODEL_DIR=folder).out.split()[0] == "a"
    assert quick("list", "--repo", folder, "--tags", "x").out.split()[0] == "b"
    assert quick("list", MODEL_DIR="").out.split()[0] == "native"
    done = quick("list", MODEL_DIR="/none")
    assert (done.returncode, done.err) == (2, "madrun: error: MODEL_DIR: /none is not a directory\n")


def test_as_json_a_card_has_all_its_fields_and_secrets_are_masked(quick, zoo):
    done = quick("list", "--tags", "b", "--json", cwd=zoo(env_vars={"HF_TOKEN": "hf_x", "N": 1}, owner="me"))
    (card,) = json.loads(done.out)
    assert (card["mad"]["owner"], card["mad"]["env_vars"]["N"]) == ("me", "1")
    assert "hf_x" not in done.out


def test_an_unknown_field_is_a_warning_and_no_failure(quick, zoo):
    done = quick("list", cwd=zoo({**ENTRY, "name": "c", "tagz": "x"}, tagz="x"))
    assert done.returncode == 0
    assert done.err.count("\n") == 1
    assert (
        "models.json: b: tagz: unknown field (did you mean 'tags'?), which has no effect (and 1 more card)" in done.err
    )


def test_a_warning_of_a_card_that_is_not_asked_for_is_not_shown(quick, zoo):
    folder = zoo(tagz="x")
    assert quick("list", "--tags", "a", cwd=folder).err == ""
    assert "tagz: unknown field" in quick("list", "--tags", "x", cwd=folder).err


def test_a_script_that_does_not_exist_is_an_error_and_the_others_are_listed(quick, zoo):
    folder = zoo(scripts="scripts/gone")
    done = quick("list", cwd=folder)
    assert done.returncode == 2
    assert [line.split()[0] for line in done.out.splitlines()] == ["a", "b"]
    assert done.err == f"madrun: error: {folder}/models.json: b: scripts: {folder}/scripts/gone/run.sh does not exist\n"
    assert quick("list", "--tags", "a", cwd=folder).returncode == 0


def test_a_broken_file_is_named_once_and_the_others_are_listed(quick, zoo):
    folder = zoo()
    (folder / "scripts/a/models.json").write_text("[\n{,}]")
    for words in ((), ("--tags", "all")):
        done = quick("list", *words, cwd=folder)
        assert done.returncode == 2
        assert done.out.count("\n") == 2
        assert done.err.count("scripts/a/models.json:2:2: not JSON") == 1


def test_what_a_generator_prints_stays_out_of_the_list_and_what_it_warns_of_is_shown(quick, zoo):
    folder = zoo()
    (folder / "scripts/g").mkdir()
    (folder / "scripts/g/run.sh").touch()
    (folder / "scripts/g/get_models_json.py").write_text(
        "import sys\nfrom madengine.tools.discover_models import CustomModel\nprint('[noise')\n"
        "def list_models():\n    sys.stderr.write('no checkout\\n')\n"
        "    return [CustomModel('m', '../../docker/x', 'run.sh')]\n"
    )
    done = quick("list", "--json", cwd=folder)
    assert done.returncode == 0
    assert [card["name"] for card in json.loads(done.out)] == ["a", "b", "g/m"]
    assert done.err == f"madrun: warning: {folder}/scripts/g/get_models_json.py: no checkout\n"


def test_the_time_limit_of_a_generator_comes_from_the_environment(quick, zoo):
    folder = zoo()
    (folder / "scripts/g").mkdir()
    (folder / "scripts/g/get_models_json.py").write_text("import time\ntime.sleep(60)\n")
    done = quick("list", cwd=folder, MADRUN_GENERATOR_TIMEOUT="0.5s")
    assert done.returncode == 2
    assert done.out.count("\n") == 2
    assert "scripts/g/get_models_json.py: did not end within 0.5 s" in done.err
    for wrong in ("soon", "0"):
        done = quick("list", cwd=folder, MADRUN_GENERATOR_TIMEOUT=wrong)
        assert (done.returncode, done.err.startswith("madrun: error: MADRUN_GENERATOR_TIMEOUT: ")) == (2, True)


def test_the_tab_key_offers_names_and_tags_and_runs_no_generator(madrun, zoo):
    folder = zoo()
    (folder / "scripts/g").mkdir()
    (folder / "scripts/g/get_models_json.py").write_text("open('ran', 'w')\n")
    asked = {"_MADRUN_COMPLETE": "complete_bash", "COMP_WORDS": "madrun\nlist\n--tags\n", "COMP_CWORD": "3"}
    assert madrun(cwd=folder, **asked).stdout.split() == ["a", "all", "b", "x", "y"]
    assert madrun(MODEL_DIR=str(folder), **asked).stdout.split() == ["a", "all", "b", "x", "y"]
    assert not (folder / "ran").exists()
