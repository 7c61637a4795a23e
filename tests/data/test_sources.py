"""data.json: names to providers, with errors that say where."""

import json

import pytest

from madrun.data.sources import Source, check_mirror, find_sources
from madrun.errors import DataError


@pytest.fixture
def data_json(repository):
    def write(value):
        (repository / "data.json").write_text(value if isinstance(value, str) else json.dumps(value))
        return repository

    return write


def failure(names, repository, mirror=None):
    with pytest.raises(DataError) as caught:
        find_sources(names, repository, mirror)
    return str(caught.value)


def test_a_relative_path_starts_at_data_json(data_json):
    repository = data_json({"corpus": {"local": {"path": "data/corpus"}}})
    (repository / "data" / "corpus").mkdir(parents=True)
    assert find_sources(("corpus",), repository, None) == [Source("corpus", "local", f"{repository}/data/corpus")]


def test_an_absolute_path_stays(data_json, tmp_path):
    repository = data_json({"corpus": {"local": {"path": str(tmp_path)}}})
    assert find_sources(("corpus",), repository, None)[0].path == str(tmp_path)


def test_a_card_without_data_needs_no_data_json(repository):
    assert find_sources((), repository, None) == []


def test_an_unknown_name_is_an_error_with_the_nearest_and_all_known(data_json):
    text = failure(("corpsu",), data_json({"corpus": {"local": {"path": "x"}}, "other": {"local": {"path": "x"}}}))
    assert "data.json: no data source 'corpsu'" in text
    assert "did you mean 'corpus'?" in text
    assert "known: corpus, other" in text


def test_an_unknown_provider_is_an_error_with_the_allowed_ones(data_json):
    assert "found providers minio, allowed: local" in failure(("c",), data_json({"c": {"minio": {}}}))
    assert "found providers none, allowed: local" in failure(("c",), data_json({"c": {}}))


@pytest.mark.parametrize("settings", [{}, {"path": ""}, {"path": 3}])
def test_a_local_source_needs_a_path(data_json, settings):
    assert "c.local.path: found" in failure(("c",), data_json({"c": {"local": settings}}))


def test_settings_that_are_no_map_are_an_error(data_json):
    assert "c.local" in failure(("c",), data_json({"c": {"local": "/data"}}))


def test_a_path_that_does_not_exist_is_named(data_json):
    assert "c: /no/such/place does not exist on this host" in failure(
        ("c",), data_json({"c": {"local": {"path": "/no/such/place"}}})
    )


def test_a_missing_source_may_be_replaced_by_its_mirror(data_json, tmp_path):
    repository = data_json({"c": {"local": {"path": "/no/such/place"}}})
    (tmp_path / "mirror" / "c").mkdir(parents=True)
    assert find_sources(("c",), repository, str(tmp_path / "mirror")) == [Source("c", "local", "")]
    text = failure(("c",), repository, str(tmp_path))
    assert "/no/such/place" in text
    assert f"{tmp_path}/c" in text


@pytest.mark.parametrize(
    ("content", "part"),
    [("{", "data.json:1:2: not JSON"), ("[]", "a map of names"), ('{"c": 1}', "a map of names"), ("\xff", "not JSON")],
)
def test_a_broken_data_json_is_named_with_the_place(data_json, content, part):
    assert part in failure(("c",), data_json(content))


def test_a_missing_data_json_is_named(repository):
    assert "data.json does not exist, but the card names data" in failure(("c",), repository)


def test_the_mirror_directory_must_exist_and_becomes_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m").mkdir()
    (tmp_path / "file").touch()
    assert check_mirror(None) is None
    assert check_mirror("m") == str(tmp_path / "m")
    with pytest.raises(DataError, match="--force-mirror-local: .*none does not exist"):
        check_mirror("none")
    with pytest.raises(DataError, match="--force-mirror-local: .*file is not a directory"):
        check_mirror("file")
    assert not (tmp_path / "none").exists()
