"""From names to places on this host: the first provider that can be had, in a fixed order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.data.config import Config
from madrun.data.providers import PROVIDERS
from madrun.data.sources import Placing, check_mirror, find_sources
from madrun.errors import DataError
from madrun.spec.credentials import Credentials
from madrun.spec.data import Fetch, Source

MINIO = {"USERNAME": "u", "PASSWORD": "geheim", "MINIO_ENDPOINT": "nas1:9000"}


@pytest.fixture
def find(repository, tmp_path):
    """Sources of the names by data.json; `entries` are those of credential.json."""

    def find(names, data, entries=None, **placing):
        placing = Placing(**({"cache": tmp_path / "cache"} | placing))
        config = Config(file=repository / "data.json", repository=repository, names=data)
        return find_sources(names, config, Credentials(entries=entries or {}), placing)

    return find


@pytest.fixture
def failure(find):
    def failure(names, data, **changes):
        with pytest.raises(DataError) as caught:
            find(names, data, **changes)
        return str(caught.value)

    return failure


@pytest.fixture
def corpus(repository):
    (repository / "data" / "corpus").mkdir(parents=True)
    return repository / "data" / "corpus"


def test_a_relative_path_starts_at_the_repository_and_is_used_where_it_lies(find, corpus):
    found = find(("corpus",), {"corpus": {"local": {"path": "data/corpus"}}})
    assert found.sources == (Source(name="corpus", provider="local", path=str(corpus)),)
    assert found.notes == ()


def test_an_absolute_path_stays(find, tmp_path):
    assert find(("c",), {"c": {"local": {"path": str(tmp_path)}}}).sources[0].path == str(tmp_path)


def test_an_unknown_name_is_an_error_with_the_nearest_and_all_known(failure):
    text = failure(("corpsu",), {"corpus": {"local": {"path": "x"}}, "other": {"local": {"path": "x"}}})
    assert "data.json: no data source 'corpsu'" in text
    assert "did you mean 'corpus'?" in text
    assert "known: corpus, other" in text


@pytest.mark.parametrize("providers", [{}, {"huggingface": {}}, {"hdfs": {"path": "x"}}])
def test_a_name_without_a_known_provider_runs_without_data_and_says_so(find, providers):
    found = find(("huggingface",), {"huggingface": providers})
    assert found.sources == ()
    assert "the card runs without these data" in found.notes[0]
    assert all(name in found.notes[0] for name in providers)


def test_a_provider_that_is_nearly_one_is_an_error(failure):
    assert "c: no provider 'locl' (did you mean 'local'?)" in failure(("c",), {"c": {"locl": {"path": "x"}}})


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({}, "c.local.path: found None"),
        ({"path": " "}, "c.local.path: found ' '"),
        ({"path": 3}, "c.local.path: found 3"),
        ("/data", "c.local: found str, allowed: a map"),
        ({"path": "x", "home": "data"}, "c.local.home: found 'data', allowed: an absolute path"),
        ({"path": "x", "home": "/a:b"}, "c.local.home"),
        ({"path": "x", "readwrite": "yes"}, "c.local.readwrite: found 'yes'"),
        ({"path": "x", "mirrorlocal": True}, "c.local.mirrorlocal: found True"),
        ({"path": "x", "args": ["a"]}, "c.local.args: found ['a']"),
    ],
)
def test_settings_that_cannot_be_meant_are_an_error(failure, settings, part):
    assert part in failure(("c",), {"c": {"local": settings}})


def test_a_setting_without_effect_is_a_note_with_the_nearest(find, corpus):
    found = find(("c",), {"c": {"local": {"path": "data/corpus", "mirorlocal": "/m"}}})
    assert "mirorlocal (did you mean 'mirrorlocal'?) has no effect" in found.notes[0]


def test_the_order_of_providers_is_fixed_whatever_that_of_the_file(find, repository, corpus):
    (repository / "get.sh").touch()
    data = {
        "aws": {"path": "bkt/p"},
        "local": {"path": "data/corpus"},
        "minio": {"path": "bkt/p"},
        "nas": {"path": "/p"},
        "custom": {"path": "get.sh"},
    }
    nas = {"NAS_NODES": [{"NAME": "n", "HOST": "h", "PORT": "22", "USERNAME": "u", "PASSWORD": "p"}]}
    entries = {"MAD_MINIO": MINIO, "MAD_AWS_S3": {"USERNAME": "u", "PASSWORD": "p"}} | nas
    (source,) = find(("c",), {"c": data}, entries).sources
    assert list(PROVIDERS) == ["custom", "local", "minio", "nas", "aws"]
    assert [fetch.provider for fetch in source.fetches] == list(PROVIDERS)
    assert source.provider == "custom"


def test_the_first_that_can_be_had_serves(find):
    data = {"c": {"local": {"path": "none"}, "minio": {"path": "bucket/c"}}}
    found = find(("c",), data, {"MAD_MINIO": MINIO})
    (source,) = found.sources
    assert source.provider == "minio"
    assert "c: not from local: " in found.notes[0]
    assert source.fetches == (Fetch(provider="minio", place="s3://bucket/c", more="http://nas1:9000"),)


def test_where_none_can_be_had_each_reason_is_named(failure, repository):
    providers = {name: {"path": "bucket/x"} for name in PROVIDERS}
    text = failure(("c",), {"c": providers}, entries={"MAD_MINIO": {"USERNAME": "u"}})
    for part in (
        "c: no provider of it can be had from this host",
        f"custom: {repository}/bucket/x is no file",
        f"local: {repository}/bucket/x does not exist on this host",
        "minio: MAD_MINIO of credential.json lacks PASSWORD",
        "nas: credential.json: no entry 'NAS_NODES'",
        "aws: credential.json: no entry 'MAD_AWS_S3'",
    ):
        assert part in text


def test_a_credential_file_that_cannot_be_read_is_the_reason(repository, tmp_path):
    config = Config(file=repository / "data.json", repository=repository, names={"c": {"aws": {"path": "b"}}})
    broken = Credentials(problem="credential.json:1:2: not JSON")
    with pytest.raises(DataError, match="aws: credential.json:1:2: not JSON"):
        find_sources(("c",), config, broken, Placing(cache=tmp_path))


def test_without_a_mirror_each_source_has_a_place_of_its_own_in_the_cache(find, tmp_path):
    def path(place, entry=MINIO):
        return find(("c",), {"c": {"minio": {"path": place}}}, {"MAD_MINIO": entry}).sources[0]

    first = path("bkt/one")
    assert first.own
    assert first.path.startswith(f"{tmp_path}/cache/data/")
    assert first.path.endswith("/c")
    assert path("s3://bkt/one").path == first.path
    assert path("bkt/two").path != first.path
    assert path("bkt/one", MINIO | {"MINIO_ENDPOINT": "other:9000"}).path != first.path
    assert path("bkt/one", MINIO | {"PASSWORD": "new"}).path == first.path


def test_another_version_of_a_script_has_another_place(find, repository):
    data = {"c": {"custom": {"path": "get.sh", "args": "--x 'a b'"}}}
    (repository / "get.sh").write_text("one")
    first = find(("c",), data).sources[0]
    assert first.fetches[0].more == "--x 'a b'"
    (repository / "get.sh").write_text("two")
    assert find(("c",), data).sources[0].path != first.path


@pytest.mark.parametrize("path", ["../get.sh", "/bin/sh"])
def test_a_script_outside_of_the_repository_is_none(failure, repository, path):
    (repository.parent / "get.sh").touch()
    assert "allowed: a path below the repository" in failure(("c",), {"c": {"custom": {"path": path}}})


def test_with_a_mirror_the_data_are_below_it(find, corpus, tmp_path):
    (source,) = find(("c",), {"c": {"local": {"path": "data/corpus"}}}, mirror=str(tmp_path)).sources
    assert (source.path, source.own) == (f"{tmp_path}/c", False)
    assert source.fetches == (Fetch(provider="local", place=str(corpus)),)


def test_data_json_may_name_the_mirror_which_must_exist(find, failure, corpus, tmp_path):
    (tmp_path / "m").mkdir()
    (source,) = find(("c",), {"c": {"local": {"path": "data/corpus", "mirrorlocal": f"{tmp_path}/m"}}}).sources
    assert (source.path, source.own) == (f"{tmp_path}/m/c", True)
    text = failure(("c",), {"c": {"local": {"path": "data/corpus", "mirrorlocal": f"{tmp_path}/none"}}})
    assert f"c.local.mirrorlocal: {tmp_path}/none does not exist" in text


def test_a_missing_source_may_be_replaced_by_its_mirror(find, failure, tmp_path):
    data = {"c": {"local": {"path": "/no/such/place"}}}
    assert f"nor is there a mirror {tmp_path}/mirror/c" in failure(("c",), data, mirror=f"{tmp_path}/mirror")
    (tmp_path / "mirror" / "c").mkdir(parents=True)
    (source,) = find(("c",), data, mirror=f"{tmp_path}/mirror").sources
    assert (source.path, source.provider, source.fetches) == (f"{tmp_path}/mirror/c", "local", ())


def test_where_another_node_makes_the_mirror_all_say_the_same_provider(find, corpus, tmp_path):
    data = {"c": {"local": {"path": "none"}, "minio": {"path": "bkt/p"}}}
    for entries in ({}, {"MAD_MINIO": MINIO}):
        (source,) = find(("c",), data, entries, mirror=str(tmp_path), by_others=True).sources
        assert source.provider == "local"


def test_home_and_write_access_are_those_of_the_provider(find, corpus):
    data = {"c": {"local": {"path": "data/corpus", "home": "/data/", "readwrite": "true"}}}
    (source,) = find(("c",), data).sources
    assert (source.home, source.writable) == ("/data", True)


def test_no_password_is_part_of_what_is_found(find):
    assert "geheim" not in repr(find(("c",), {"c": {"minio": {"path": "bkt/p"}}}, {"MAD_MINIO": MINIO}))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["path", "home", "args", "readwrite", "mirrorlocal", "x"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(providers=st.dictionaries(st.sampled_from([*PROVIDERS, "huggingface", "locl"]), JSON, max_size=3))
def test_whatever_stands_in_data_json_is_found_or_a_data_error(tmp_path_factory, providers):
    root = tmp_path_factory.getbasetemp()
    config = Config(file=root / "data.json", repository=root, names={"c": providers})
    try:
        find_sources(("c",), config, Credentials(), Placing(cache=root))
    except DataError as error:
        assert str(error)


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
