"""What of a checkout stands in the workspace: mounted, copied, added, left out."""

import pytest

from madrun.registry.mad.checkout import surroundings
from madrun.registry.mad.tools import SHIPPED
from madrun.spec.card import Card
from madrun.spec.mad import MadCard


@pytest.fixture
def repo(tmp_path):
    for name in ("scripts/one/run.sh", "docker/a.Dockerfile", "models.json", "README.md", ".git/HEAD"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.fixture
def look(repo):
    def looked(copied=False, layered=True, files=None, results="perf_one.csv"):
        card = Card(
            name="one",
            folder=str(repo / "scripts/one"),
            repository=str(repo),
            source="models.json",
            script="run.sh",
            multiple_results=results,
            mad=MadCard(short="one", dockerfile="docker/one"),
        )
        return surroundings(card, files or {}, copied, layered)

    return looked


def names(found, **how):
    return [e.name for e in found.entries if all(getattr(e, key) == value for key, value in how.items())]


def test_folders_are_mounted_and_small_files_of_the_root_are_copies(look):
    found = look()
    assert {".git", "docker"} <= set(names(found, copied=False))
    assert {"README.md", "models.json"} <= set(names(found, copied=True))


def test_scripts_common_gets_madruns_part_beside_the_repositorys_own_which_wins(look, repo):
    (repo / "scripts/common/tools").mkdir(parents=True)
    (repo / "scripts/common/own.sh").write_text("own")
    found = look()
    assert "scripts" in names(found, copied=False)
    by_name = {entry.name: entry for entry in found.entries}
    assert by_name["scripts/common/tools"].source == str(repo / "scripts/common/tools")
    assert by_name["scripts/common/tools.json"].source == str(SHIPPED / "tools.json")
    assert by_name["scripts/common/own.sh"].copied


def test_without_a_scripts_common_of_its_own_the_parts_of_scripts_stand_there_one_by_one(look):
    assert set(names(look(), copied=False)) == {".git", "docker", "scripts/one"}


def test_many_folders_in_scripts_are_one_mount_unless_the_script_asks_for_common(look, repo):
    for number in range(1000):
        (repo / f"scripts/m{number}").mkdir()
    assert len(look().entries) == 5
    asking = repo / "scripts/one/run.sh"
    asking.write_text("bash ../scripts/common/tools/resources.sh x")
    assert len(look(files={"run_directory/run.sh": asking}).entries) > 1000
    (repo / "scripts/common").mkdir()
    assert len(names(look(), copied=False)) == 3


def test_results_of_earlier_runs_are_left_out_and_told(look, repo):
    for name in ("perf_one.csv", "perf_two.csv", "primus_output.csv", "x_trace.csv", "perf.csv", "perf_entry.csv"):
        (repo / name).write_text("old")
    found = look()
    assert not {"perf_one.csv", "perf_two.csv", "perf.csv", "perf_entry.csv"} & set(names(found))
    assert found.stale == ("perf_one.csv", "perf_two.csv", "primus_output.csv", "x_trace.csv")


def test_a_result_file_by_any_name_is_left_out(look, repo):
    (repo / "numbers.csv").write_text("old")
    assert look(results="numbers.csv").stale == ("numbers.csv",)


@pytest.mark.parametrize("folder", ["results", "elsewhere"])
def test_where_runs_go_is_left_out_whatever_its_name(look, repo, folder):
    (repo / folder / "runs/20261121T132957Z-dummy-7b9f02-1").mkdir(parents=True)
    assert folder not in names(look())


def test_a_folder_named_results_that_holds_no_runs_is_the_repositorys_own(look, repo):
    (repo / "results").mkdir()
    assert "results" in names(look())


def test_credentials_caches_and_run_directories_are_left_out(look, repo):
    (repo / "credential.json").write_text("{}")
    for name in ("run_directory", "__pycache__", ".mypy_cache"):
        (repo / name).mkdir()
    assert not {"credential.json", "run_directory", "__pycache__", ".mypy_cache"} & set(names(look()))


def test_copies_are_made_of_all_but_history_and_models(look, repo):
    (repo / "models--a--b").mkdir()
    found = look(copied=True)
    assert set(names(found, copied=False)) == {".git", "models--a--b"}
    assert {"scripts", "docker", "scripts/common/tools.json"} <= set(names(found, copied=True))


def test_a_large_file_is_mounted_and_a_link_to_a_folder_is_what_it_leads_to(look, repo, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (repo / "linked").symlink_to(outside)
    (repo / "dangling").symlink_to(repo / "nowhere")
    with (repo / "weights.bin").open("wb") as file:
        file.truncate(17 << 20)
    found = {entry.name: entry for entry in look().entries}
    assert not found["weights.bin"].copied
    assert found["linked"].source == str(outside)
    assert "dangling" not in found


def test_what_this_user_may_not_read_is_mounted_and_no_error(look, repo, monkeypatch):
    (repo / "secret.env").write_text("x")
    monkeypatch.setattr("os.access", lambda path, _mode: "secret" not in str(path))
    assert "secret.env" in names(look(), copied=False)
