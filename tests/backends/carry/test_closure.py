"""Which installed distributions and files a node's madrun needs."""

import pytest

from madrun.backends.carry import closure as closing
from madrun.backends.carry.closure import closure, files_of, normal, own_files, requirements
from madrun.errors import UsageError


def installed(folder, name, requires=(), files=None, record=True):
    """A distribution in a folder, as pip lays it out."""
    place = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    place.mkdir(parents=True)
    lines = [f"Requires-Dist: {one}" for one in requires]
    (place / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", f"Name: {name}", "Version: 1.0", *lines]))
    files = {f"{name.replace('-', '_')}/__init__.py": ""} if files is None else files
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    if record:
        (place / "RECORD").write_text("".join(f"{path},,\n" for path in files))


@pytest.fixture
def site(tmp_path, monkeypatch):
    folder = tmp_path / "lib/python/site-packages"
    folder.mkdir(parents=True)
    monkeypatch.syspath_prepend(str(folder))
    return folder


def test_it_is_what_is_needed_by_what_is_needed(site):
    installed(site, "top-1", ["middle>=2", "unrelated; extra == 'more'", "absent; sys_platform == 'win32'"])
    installed(site, "middle", ["Deep.One (<3)", "rich"])
    installed(site, "deep-one", ["middle"])
    installed(site, "unrelated")
    assert closure("top-1") == ["deep-one", "middle"]


def test_what_is_needed_under_a_condition_comes_where_it_is_there(site):
    installed(site, "top-2", ["here; python_version < '3'", "gone; python_version < '3'"])
    installed(site, "here")
    assert closure("top-2") == ["here"]


def test_what_is_always_needed_and_missing_is_an_error_that_says_what_to_do(site):
    installed(site, "top-3", ["surely-not-installed>=1"])
    with pytest.raises(UsageError, match="found no files of surely-not-installed .* set ssh.madrun to installed"):
        closure("top-3")


def test_requirements_leave_out_extras_and_what_only_reports_need(site):
    installed(site, "top-4", ["typer (>=0.15)", "pandas>=2", "torch; extra == 'torch'", "docker >=7,<8"])
    assert requirements("top-4") == ["typer>=0.15", "docker>=7,<8"]


def test_files_come_without_metadata_and_with_the_one_program_that_a_run_starts(site):
    files = {
        "top_5/__init__.py": "",
        "top_5/__pycache__/a.pyc": "",
        "../../../bin/py-spy": "#!",
        "../../../bin/other": "#!",
        "../../../share/man/top.1": "",
    }
    installed(site, "top-5", files=files)
    found = files_of("top-5")
    assert sorted(found) == ["bin/py-spy", "top_5/__init__.py"]
    assert found["bin/py-spy"].read_text() == "#!"


def test_a_distribution_without_a_list_of_files_is_found_by_its_modules(site):
    installed(site, "top-6", files={"top_6/__init__.py": "", "top_6/deep/x.so": "x"}, record=False)
    assert sorted(files_of("top-6")) == ["top_6/__init__.py", "top_6/deep/x.so"]


def test_a_distribution_without_any_file_is_an_error(site):
    installed(site, "top-7", files={}, record=False)
    with pytest.raises(UsageError, match="found no files of top-7"):
        files_of("top-7")


def test_names_are_one_whatever_their_spelling():
    assert normal("Deep.One") == normal("deep_one") == normal("DEEP--one") == "deep-one"


def test_own_files_are_the_same_from_a_checkout_and_from_a_wheel(tmp_path, monkeypatch):
    def tree(package, shipped):
        for path in ("backends/carry/closure.py", "cli/run.py", "__pycache__/x.pyc"):
            (package / path).parent.mkdir(parents=True, exist_ok=True)
            (package / path).write_text("")
        (shipped / "models/one").mkdir(parents=True)
        (shipped / "models/one/model.yaml").write_text("")
        (shipped / "data.json").write_text("{}")
        monkeypatch.setattr(closing, "__file__", str(package / "backends/carry/closure.py"))
        return sorted(own_files())

    checkout = tree(tmp_path / "checkout/madrun", tmp_path / "checkout")
    wheel = tree(tmp_path / "wheel/madrun", tmp_path / "wheel/madrun/shipped")
    assert checkout == wheel
    assert "madrun/shipped/models/one/model.yaml" in checkout and "madrun/cli/run.py" in checkout
