"""`madrun lint`: what is printed, and the exit code."""

import json

import pytest

HEADER = "# CONTEXT {'gpu_vendor': 'AMD'}\nFROM base\n"


@pytest.fixture
def write(repository):
    """Writes a file of a MAD repository that has one clean card."""

    def put(name, text):
        path = repository / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    card = {"name": "a", "dockerfile": "docker/a", "scripts": "scripts/a/run.sh", "n_gpus": "1", "args": "", "tags": []}
    put("models.json", json.dumps([card, card | {"name": "b"}]))
    put("docker/a.ubuntu.amd.Dockerfile", HEADER)
    put("scripts/a/run.sh", 'echo "performance: $(nproc) cores"\n')
    return put


def test_a_clean_repository_is_said_to_be_so_with_what_was_examined(madrun, write):
    done = madrun("lint")
    assert (done.returncode, done.stdout) == (0, "0 errors, 0 warnings; examined 2 cards, 3 files\n")


def test_an_error_is_shown_with_place_rule_cards_and_advice(madrun, write):
    write("scripts/a/run.sh", "python3 -m train | tee log\n")
    done = madrun("lint")
    assert done.returncode == 2
    first, advice, last = done.stdout.splitlines()
    assert first == "scripts/a/run.sh:1: error: masked-pipe: python3 -m train | tee log [a, b]"
    assert "set -o pipefail" in advice
    assert last.startswith("1 error, 0 warnings;")


def test_what_many_cards_and_lines_share_is_shown_once_and_counted_each(madrun, write, repository):
    card = {"dockerfile": "docker/a", "scripts": "scripts/a/run.sh", "n_gpus": "1", "tags": [], "teem": ""}
    write("models.json", json.dumps([card | {"name": name} for name in "abcdef"], indent=1))
    lines = madrun("lint").stdout.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("models.json:7: warning: unknown-field: teem: unknown field")
    assert lines[0].endswith("[a, b, c, d and 2 more] (also in lines 15, 23, 31, 39 and 1 more)")
    assert lines[2].startswith("0 errors, 6 warnings;")
    assert len(json.loads(madrun("lint", "--json").stdout)["findings"]) == 6


def test_warnings_fail_only_when_they_are_to_count(madrun, write):
    write("scripts/a/run.sh", "PORT=8000\n")
    assert madrun("lint").returncode == 0
    assert madrun("lint", "--strict").returncode == 2


def test_a_rule_can_be_left_out_and_a_wrong_name_is_an_error(madrun, write):
    write("scripts/a/run.sh", "PORT=8000\npython3 -m train | tee log\n")
    done = madrun("lint", "--ignore", "masked-pipe", "--ignore", "fixed-port")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "0 errors, 0 warnings; examined 2 cards, 3 files")
    wrong = madrun("lint", "--ignore", "masked-pipes")
    assert wrong.returncode == 2
    assert "did you mean 'masked-pipe'" in wrong.stderr


def test_json_holds_every_finding_and_the_counts(madrun, write):
    write("scripts/a/run.sh", "PORT=8000\n")
    done = json.loads(madrun("lint", "--json").stdout)
    (finding,) = done.pop("findings")
    assert done == {"cards": 2, "files": 3, "errors": 0, "warnings": 1}
    assert finding["rule"] == "fixed-port"
    assert (finding["file"], finding["line"], finding["cards"]) == ("scripts/a/run.sh", 1, ["a", "b"])
    assert set(finding) == {"rule", "severity", "file", "line", "cards", "found", "advice"}


def test_only_the_selected_cards_are_examined(madrun, write):
    write("scripts/nested/models.json", '[{"name": "c", "dockerfile": "../../docker/gone", "scripts": "run.sh"}]')
    write("scripts/nested/run.sh", "echo\n")
    assert madrun("lint").returncode == 2
    done = madrun("lint", "--tags", "a", "b")
    assert (done.returncode, "examined 2 cards" in done.stdout) == (0, True)
    assert madrun("lint", "--tags", "nested/c").returncode == 2


def test_it_fails_where_nothing_was_examined(madrun, write, tmp_path):
    write("models.json", "[]")
    done = madrun("lint")
    assert done.returncode == 2
    assert "nothing was examined (0 cards" in done.stderr
    empty = tmp_path / "empty"
    empty.mkdir()
    assert madrun("lint", "--repo", str(empty)).returncode == 2


def test_a_broken_file_is_a_finding_and_the_rest_is_examined(madrun, write):
    write("scripts/b/models.json", "[\n{]")
    write("scripts/a/run.sh", "python3 -m train | tee log\n")
    done = madrun("lint")
    assert done.returncode == 2
    assert "scripts/b/models.json:2: error: broken-card: not JSON" in done.stdout
    assert "masked-pipe" in done.stdout


def test_control_characters_of_a_script_do_not_reach_the_terminal(madrun, write):
    write("scripts/a/run.sh", "python3 -m \x1b[31mtrain | tee log\n")
    assert "\x1b" not in madrun("lint").stdout
