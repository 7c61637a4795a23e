"""Free-form options of docker run: what goes into the plan, what stays words, what is refused and why."""

import pytest

from madrun.errors import ContextError
from madrun.planning.mad.options import joined, read_options, written
from madrun.spec.context import Layer

ENV = {"HF_TOKEN": "hf_very_secret", "PLACE": "/data", "N": "3"}


def options(text):
    return read_options(text, ENV, "card one")


def test_words_stay_as_they_are_with_the_hosts_variables_in_them():
    found = options("--cap-add SYS_NICE -v ${PLACE}:/d --cpus=$N --privileged -p8000:8000 --label 'a b'")
    expected = ["--cap-add", "SYS_NICE", "-v", "/data:/d", "--cpus=3", "--privileged", "-p8000:8000", "--label", "a b"]
    assert list(found.words) == expected
    assert found.sources == ("/data",)


@pytest.mark.parametrize("text", ["-e A=1", "-eA=1", "--env A=1", "--env=A=1", "-e 'A=1'"])
def test_variables_go_into_the_plan_however_they_are_spelled(text):
    assert options(text) == read_options("-e A=1", ENV, "x")
    assert options(text).env == {"A": "1"}
    assert options(text).words == ()


def test_a_variable_by_name_alone_takes_the_hosts_value():
    assert options("-e N").env == {"N": "3"}
    with pytest.raises(ContextError, match=r"card one: additional_docker_run_options: \$NONE is not set"):
        options("-e NONE")


def test_a_secret_can_be_a_variable_by_a_name_that_says_so_and_nothing_else():
    assert options("-e HF_TOKEN=${HF_TOKEN} --env HF_TOKEN").env == {"HF_TOKEN": "hf_very_secret"}
    for text in ("-e FOO=$HF_TOKEN", "--label x=$HF_TOKEN", "-v /a:/$HF_TOKEN"):
        with pytest.raises(ContextError, match="which files would show") as caught:
            options(text)
        assert "hf_very_secret" not in str(caught.value)


def test_what_the_context_has_a_key_for_becomes_that_key():
    found = options("--ipc=host --shm-size 64G --net=host")
    assert found.planned == {"ipc": "host", "shm_size": "64G"}
    assert found.words == ("--network", "host")


@pytest.mark.parametrize(
    "text",
    [
        *("--name x", "--entrypoint bash", "--restart always", "-a stdout", "--env-file f", "--cidfile f", "--help"),
        *(
            "-u 1000",
            "--user=nobody",
            "--label madrun.run=x",
            "-v /a:/madrun",
            "--mount type=bind,src=/a,dst=/madrun/b",
        ),
        *("--ipc container:x", "ubuntu", "--privileged ubuntu", "-itd x", "--", "--cpus"),
    ],
)
def test_what_would_break_the_run_is_refused_with_the_reason(text):
    with pytest.raises(ContextError, match=r"card one: additional_docker_run_options: found "):
        options(text)


@pytest.mark.parametrize("text", ["--rm", "-d", "-it", "--interactive=true", "--gpus all", "--pull always"])
def test_what_madrun_does_itself_is_left_out_and_named(text):
    found = options(f"{text} --init")
    assert found.words == ("--init",)
    assert "left out" in found.notes[0]


@pytest.mark.parametrize("text", ["-u root", "-u 0:0", "-v named:/x", "--mount type=volume,src=v,dst=/x"])
def test_root_and_volumes_by_name_are_fine(text):
    assert options(text).words
    assert options(text).sources == ()


def test_a_joined_text_means_the_same_words():
    found = options("--label 'a  b$' -v '/a b':/c")
    assert options(joined(found.words)).words == found.words


def test_the_hash_is_that_of_the_text_as_it_was_written():
    layers = [Layer("a", {"additional_docker_run_options": "--cpus 1"})]

    class Native:
        mad = None

    assert written(Native, [], None) == ""
    found = {written(Native, layers, None), written(Native, layers, "0-1"), written(Native, [], "0-1")}
    assert len(found) == 3
