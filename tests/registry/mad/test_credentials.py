"""credential.json and the variables beside it: what is there, what is wrong, and that nothing of it is shown."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.errors import UsageError
from madrun.registry.mad.credentials import read
from madrun.spec.credentials import Credentials


def write(folder, value):
    (folder / "credential.json").write_text(value if isinstance(value, str) else json.dumps(value))


def test_an_entry_becomes_variables_named_after_it(tmp_path):
    write(tmp_path, {"Box": {"username": "ann", "password": "pw", "port": 22}})
    known = read(tmp_path, {})
    assert known.variables("Box") == {"Box_USERNAME": "ann", "Box_PASSWORD": "pw", "Box_PORT": "22"}
    assert known.variables("") == {}


def test_a_variable_of_the_host_counts_before_the_file(tmp_path):
    write(tmp_path, {"MAD_MINIO": {"USERNAME": "file"}})
    assert read(tmp_path, {"MAD_MINIO": '{"USERNAME": "env"}'}).get("MAD_MINIO") == {"USERNAME": "env"}


def test_dockerhub_is_completed_by_its_own_variables(tmp_path):
    write(tmp_path, {"dockerhub": {"repository": "team/x", "username": "ann", "password": "old"}})
    found = read(tmp_path, {"MAD_DOCKERHUB_PASSWORD": "new"}).get("dockerhub")
    assert found == {"repository": "team/x", "username": "ann", "password": "new"}


def test_a_broken_file_is_an_error_with_line_and_column_once_it_is_needed(tmp_path):
    write(tmp_path, '{"Box": {"password": "s3cret",}}')
    known = read(tmp_path, {"MAD_MINIO": "{}"})
    assert known.get("MAD_MINIO") == {}
    with pytest.raises(UsageError, match=r"credential.json:1:3\d: not JSON: .*\(Box is needed from it\)") as caught:
        known.get("Box")
    assert "s3cret" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "credential.json").mkdir()
    with pytest.raises(UsageError, match=r"credential.json: cannot be read: Is a directory; make it readable"):
        read(tmp_path, {}).get("Box")


def test_a_missing_entry_says_what_there_is_and_how_to_give_it(tmp_path):
    write(tmp_path, {"Box": {}})
    with pytest.raises(UsageError, match=r"no entry 'MAD_AWS_S3'; it has Box; add it, or set the variable MAD_AWS_S3"):
        read(tmp_path, {}).get("MAD_AWS_S3")


def test_a_variable_that_is_not_json_is_an_error_at_once(tmp_path):
    with pytest.raises(UsageError, match=r"variable NAS_NODES: not JSON at line 1, column 1"):
        read(tmp_path, {"NAS_NODES": "here"})


@pytest.mark.parametrize("value", [[1], "text"])
def test_an_entry_that_is_no_object_is_refused(tmp_path, value):
    write(tmp_path, {"Box": value})
    with pytest.raises(UsageError, match=r"Box: found (list|str), allowed: an object"):
        read(tmp_path, {}).get("Box")


def test_what_gets_one_in_is_a_secret_and_where_it_is_is_not(tmp_path):
    node = {"NAME": "n", "HOST": "h", "PORT": "22", "USERNAME": "ann", "PASSWORD": "pw"}
    known = read(tmp_path, {"NAS_NODES": json.dumps([node, {**node, "PASSWORD": "other"}])})
    assert known.secrets("NAS_NODES") == {"NAS_NODES_PASSWORD": "pw", "NAS_NODES_1_PASSWORD": "other"}
    assert "pw" not in repr(known)


@given(st.text())
def test_any_text_is_read_or_told_to_be_wrong(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("c")
    (folder / "credential.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    known = read(folder, {})
    assert isinstance(known, Credentials)
    assert known.problem == "" or known.problem.startswith(str(folder))
