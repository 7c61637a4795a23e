"""Models that scripts download: moved to the cache, found again, never lost by two runs at once."""

from madrun.node.models import keep_models, link_models


def made(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_what_was_downloaded_is_moved_to_the_cache_and_linked_in_the_next_run(tmp_path):
    work, cache = made(tmp_path / "work", {"models--a--b/blobs/1": "w", "other/x": "y"}), tmp_path / "cache"
    link_models(work, cache, True)
    (note,) = keep_models(work, str(cache))
    assert "models--a--b was downloaded" in note
    assert (cache / "hub/models--a--b/blobs/1").read_text() == "w"
    assert not (work / "models--a--b").exists()
    assert (work / "other/x").exists()
    (tmp_path / "next").mkdir()
    link_models(tmp_path / "next", cache, True)
    assert (tmp_path / "next/models--a--b").readlink().as_posix() == "/madrun/cache/hub/models--a--b"
    assert keep_models(tmp_path / "next", str(cache)) == []


def test_on_the_host_itself_the_link_leads_to_the_cache(tmp_path):
    cache, work = made(tmp_path / "cache", {"hub/datasets--x/y": "z"}), tmp_path / "work"
    work.mkdir()
    link_models(work, cache, False)
    assert (work / "datasets--x/y").read_text() == "z"


def test_two_runs_that_bring_the_same_model_keep_every_file_once_and_the_newest_reference(tmp_path):
    cache = made(tmp_path / "cache", {"hub/models--m/blobs/1": "one", "hub/models--m/refs/main": "old"})
    files = {"blobs/1": "one", "blobs/2": "two", "blobs/3.incomplete": "part", "refs/main": "new"}
    work = made(tmp_path / "work", {f"models--m/{name}": text for name, text in files.items()})
    (work / "models--m/snapshots/new").mkdir(parents=True)
    (work / "models--m/snapshots/new/config").symlink_to("../../blobs/2")
    keep_models(work, str(cache))
    kept = cache / "hub/models--m"
    assert (kept / "snapshots/new/config").read_text() == "two"
    assert (kept / "refs/main").read_text() == "new"
    assert not (kept / "blobs/3.incomplete").exists()
    assert not (work / "models--m").exists()


def test_locks_of_the_cache_are_no_result_and_other_hidden_folders_are(tmp_path):
    work = made(tmp_path / "work", {".locks/models--m/x.lock": ""})
    keep_models(work, str(tmp_path / "cache"))
    assert not (work / ".locks").exists()
    made(work, {".locks/mine": ""})
    keep_models(work, str(tmp_path / "cache"))
    assert (work / ".locks/mine").exists()


def test_a_cache_that_takes_nothing_is_a_note_and_the_files_stay(tmp_path):
    work = made(tmp_path / "work", {"models--m/blobs/1": "w"})
    (tmp_path / "cache").write_text("a file in its place")
    (note,) = keep_models(work, str(tmp_path / "cache"))
    assert "models--m could not be kept" in note
    assert (work / "models--m/blobs/1").exists()


def test_without_a_cache_nothing_is_touched(tmp_path):
    work = made(tmp_path / "work", {"models--m/blobs/1": "w"})
    assert keep_models(work, "") == []
    assert (work / "models--m/blobs/1").exists()
