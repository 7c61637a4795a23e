"""Which Dockerfiles a card means: headers, names without headers, and the reasons where none is left."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.errors import CardError
from madrun.registry.mad.dockerfiles import candidates, context_of, matching, read_header, word_of_test
from madrun.spec.card import Card
from madrun.spec.mad import MadCard


@pytest.fixture
def card(tmp_path):
    """A card that means docker/x.*; its Dockerfiles are given as name=header."""

    def make(dockerfile="docker/x", context="", **files):
        (tmp_path / "docker").mkdir(exist_ok=True)
        for name, header in files.items():
            (tmp_path / "docker" / name.replace("__", ".")).write_text(f"{header}\nFROM scratch\n")
        mad = MadCard(short="x", dockerfile=dockerfile, context=context)
        source = str(tmp_path / "models.json")
        return Card(name="x", folder="", repository=str(tmp_path), source=source, script="", mad=mad)

    return make


def chosen(card, **known):
    return [source.dockerfile for source in matching(card, known)[0]]


def test_a_file_is_dropped_only_for_a_key_that_both_have_with_other_values(card):
    x = card(x__a="# CONTEXT {'gpu_vendor': 'AMD', 'guest_os': 'UBUNTU'}", x__b="# CONTEXT {'gpu_vendor': 'NVIDIA'}")
    assert chosen(x, gpu_vendor="AMD") == ["docker/x.a"]
    assert chosen(x, gpu_vendor="amd", guest_os="UBUNTU") == ["docker/x.a"]
    assert chosen(x, guest_os="CENTOS") == ["docker/x.b"]
    assert chosen(x) == ["docker/x.a", "docker/x.b"]


def test_any_key_of_a_context_may_be_one_of_a_header(card):
    x = card(x__a="# CONTEXT {'ctx_test': 'one', 'n': 2}", x__b="#CONTEXT {'ctx_test': 'two', 'l': [1, '2']}")
    assert chosen(x, ctx_test="one", n="2") == ["docker/x.a"]
    assert chosen(x, ctx_test="two", l=(1, 2)) == ["docker/x.b"]


def test_without_a_header_the_name_says_the_vendor(card):
    x = card(x__ubuntu__amd__Dockerfile="", x__ubuntu__nvidia__Dockerfile="")
    assert chosen(x, gpu_vendor="NVIDIA") == ["docker/x.ubuntu.nvidia.Dockerfile"]
    assert matching(x, {"gpu_vendor": "AMD"})[1] == []


def test_with_neither_it_is_taken_with_a_warning(card):
    sources, (warning,) = matching(card(x__Dockerfile=""), {"gpu_vendor": "AMD"})
    assert [source.dockerfile for source in sources] == ["docker/x.Dockerfile"]
    assert warning.startswith("docker/x.Dockerfile: no '# CONTEXT {...}' in its first 5 lines")


def test_where_none_fits_each_has_its_reason(card):
    x = card(x__a="# CONTEXT {'gpu_vendor': 'AMD'}", x__b="# CONTEXT {'guest_os': 'CENTOS'}")
    with pytest.raises(CardError, match=r"x: no Dockerfile fits") as caught:
        matching(x, {"gpu_vendor": "CPU", "guest_os": "UBUNTU"})
    assert "docker/x.a: gpu_vendor: it is for 'AMD', here it is 'CPU'" in str(caught.value)
    assert "docker/x.b: guest_os: it is for 'CENTOS', here it is 'UBUNTU'" in str(caught.value)


def test_where_there_is_no_file_near_prefixes_are_named(card):
    with pytest.raises(CardError, match=r"no file is named docker/llama_8b.\* \(did you mean 'llama_7b'\?\)"):
        matching(card("docker/llama_8b", llama_7b__Dockerfile=""), {})
    with pytest.raises(CardError, match=r"nowhere does not exist"):
        matching(card("nowhere/x"), {})


def test_a_longer_name_is_no_candidate(card):
    x = card(x__a="", xy__a="", x__a__dockerignore="")
    assert [one.path for one in candidates(x)] == ["docker/x.a"]


def test_only_the_first_five_lines_hold_a_header(tmp_path):
    file = tmp_path / "x"
    file.write_text("#1\n#2\n#3\n#4\n# CONTEXT {'a': 'b'}  \n")
    assert read_header(file) == {"a": "b"}
    file.write_text("#1\n#2\n#3\n#4\n#5\n# CONTEXT {'a': 'b'}\n")
    assert read_header(file) is None


@pytest.mark.parametrize("text", ["{'a': }", "{'a': b}", "{1: 2}", "{'a'}", "{'a': 1", "{'a': __import__('os')}"])
def test_a_header_that_is_no_map_is_an_error_with_its_line(tmp_path, text):
    file = tmp_path / "x"
    file.write_text(f"# a file\n# CONTEXT {text}\n")
    with pytest.raises(CardError, match=r"x:2: the CONTEXT header.*allowed: a Python literal on one line"):
        read_header(file)


@given(st.text(alphabet="#CONTEX {}'\":,ab1[]\n\\", max_size=60))
def test_any_text_has_a_header_or_none_or_an_error(tmp_path_factory, text):
    file = tmp_path_factory.getbasetemp() / "any"
    file.write_text(f"# CONTEXT {{{text}")
    try:
        header = read_header(file)
    except CardError:
        return
    assert header is None or all(isinstance(key, str) for key in header)


def test_the_context_is_docker_unless_the_card_or_its_name_says_otherwise(card):
    assert context_of(card()) == "docker"
    assert context_of(card("docker/Primus_x")) == "."
    assert context_of(card("docker/primus", context="./scripts")) == "./scripts"


def test_ctx_test_is_the_content_of_its_file(tmp_path):
    assert word_of_test(tmp_path) == "None"
    (tmp_path / "ctx_test").write_text("here\n")
    assert word_of_test(tmp_path) == "here"


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff# CONTEXT {'gpu_vendor': 'AMD'}\n",
        '# syntax=docker/dockerfile:1\r\n# CONTEXT {"gpu_vendor": "AMD"}  # a comment\r\n',
        "#CONTEXT{'gpu_vendor':'AMD'}",
    ],
)
def test_a_header_is_found_however_the_file_was_saved(tmp_path, text):
    (tmp_path / "f").write_bytes(text.encode())
    assert read_header(tmp_path / "f") == {"gpu_vendor": "AMD"}


def test_a_folder_that_may_not_be_listed_is_an_error_that_names_it(card, monkeypatch):
    x = card(x__a="")

    def refused(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.iterdir", refused)
    with pytest.raises(CardError, match="x: dockerfile: .*/docker cannot be read: Permission denied"):
        candidates(x)
