"""`madrun migrate`: what is printed, and the exit code."""

import json

import pytest


@pytest.fixture
def cards(repository):
    """Writes a MAD repository with a card for each map of changes."""

    def write(*changes):
        for name, text in (
            ("docker/a.amd.Dockerfile", "# CONTEXT {'gpu_vendor': 'AMD'}\nFROM x\n"),
            ("s/run.sh", "echo\n"),
        ):
            (repository / name).parent.mkdir(exist_ok=True)
            (repository / name).write_text(text)
        base = {"name": "a", "dockerfile": "docker/a", "scripts": "s/run.sh", "n_gpus": "1", "args": "", "tags": ["t"]}
        (repository / "models.json").write_text(json.dumps([base | change for change in changes]))

    return write


def test_the_files_are_named_and_notes_are_no_failure(madrun, cards, tmp_path):
    cards({}, {"name": "b", "cred": "KEY"})
    done = madrun("migrate", "--to", str(tmp_path / "new"))
    assert (done.returncode, done.stdout) == (0, "models/a/model.yaml  (variants: b)\n")
    assert "note: b: cred KEY: not carried over" in done.stderr
    assert "2 cards migrated in 1 file below" in done.stderr
    assert madrun("list", "--repo", str(tmp_path / "new")).stdout.split() == ["a", "t", "b", "t"]


def test_a_card_that_cannot_be_migrated_makes_the_code_2(madrun, cards, tmp_path):
    cards({}, {"name": "b", "dockerfile": "docker/gone"})
    done = madrun("migrate", "--to", str(tmp_path / "new"))
    assert (done.returncode, done.stdout) == (2, "models/a/model.yaml\n")
    assert "b: no Dockerfile docker/gone.*" in done.stderr


def test_only_the_selected_cards_are_migrated(madrun, cards, tmp_path):
    cards({}, {"name": "b", "dockerfile": "docker/gone"})
    assert madrun("migrate", "--tags", "a", "--to", str(tmp_path / "new")).returncode == 0


def test_nothing_is_replaced(madrun, cards, tmp_path):
    cards({})
    (tmp_path / "new").mkdir()
    (tmp_path / "new/file").write_text("mine")
    done = madrun("migrate", "--to", str(tmp_path / "new"))
    assert (done.returncode, "is not empty" in done.stderr) == (2, True)
    assert madrun("migrate").returncode == 2


def test_native_cards_need_no_migration(madrun, write_card, tmp_path):
    write_card()
    done = madrun("migrate", "--to", str(tmp_path / "new"))
    assert (done.returncode, "no card of the MAD form" in done.stderr) == (2, True)
