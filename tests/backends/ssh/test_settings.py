"""The keys of ssh: what they may be, and which hosts of them are taken."""

import re
from pathlib import Path

import pytest

from madrun.backends.ssh.settings import SshSettings, check, read
from madrun.errors import ContextError
from madrun.spec.codec import to_plain


def test_the_hosts_of_a_file_are_read_once():
    settings, nnodes = read({"hosts": "./f"}, None, {"./f": "a slots=2\nb slots=2\nc slots=2\n"}.get)
    assert (settings.hosts, nnodes) == (("a slots=2", "b slots=2", "c slots=2"), 3)
    assert settings.names == ("a", "b", "c")
    assert settings.nproc_per_node == 2
    assert read(to_plain(settings), 3, {}.get) == (settings, 3)


def test_a_file_of_hosts_that_cannot_be_read_is_no_name_of_a_host(tmp_path, monkeypatch):
    (tmp_path / "cluster").write_bytes(b"\xff\xfe")
    monkeypatch.chdir(tmp_path)
    said = "hosts: the file cluster {}; allowed: a file with one host a line"
    with pytest.raises(ContextError, match=said.format("is no text in UTF-8")):
        read({"hosts": "cluster"}, None)

    def refused(*_words, **_more):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refused)  # root reads every file
    with pytest.raises(ContextError, match=said.format("cannot be read: Permission denied")):
        read({"hosts": "cluster"}, None)


def test_of_more_hosts_than_nodes_the_first_are_taken():
    settings, nnodes = read({"hosts": "n[1-8]"}, 2)
    assert (settings.names, nnodes) == (("n1", "n2"), 2)


def test_without_a_word_of_ssh_nothing_is_assumed_about_the_nodes():
    assert (SshSettings().madrun, SshSettings().repository, SshSettings().images) == ("auto", "auto", "auto")
    assert SshSettings().connect_s == 10


@pytest.mark.parametrize(
    ("values", "nnodes", "said"),
    [
        ({}, None, "--on ssh: found no hosts; allowed: --hosts a,b"),
        ({"hosts": "a"}, 2, "--hosts (ssh.hosts): found 1 hosts for 2 nodes"),
        ({"host": "a"}, None, "ssh.host: unknown key (did you mean 'hosts'?)"),
        ({"hosts": "a", "fanout": 0}, None, "ssh.fanout: found 0 (int), allowed: a number >= 1"),
        ({"hosts": "a", "connect_timeout": "soon"}, None, "ssh.connect_timeout: found 'soon'"),
        ({"hosts": "a", "connect_timeout": 0}, None, "ssh.connect_timeout: found 0, allowed: a second or more"),
        ({"hosts": "a", "options": ["-v"]}, None, "ssh.options: found '-v', allowed: words as ssh -o takes them"),
        ({"hosts": "a", "folder": "here"}, None, "ssh.folder: found 'here', allowed: a path from / or from ~/"),
        (
            {"hosts": "a", "madrun": "yes"},
            None,
            "ssh.madrun: found 'yes' (str), allowed: 'auto', 'installed' or 'carry'",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_key(values, nnodes, said):
    with pytest.raises(ContextError, match=re.escape(said)):
        read(values, nnodes)


def test_the_settings_of_a_command_with_hosts_of_its_own_need_none():
    assert check({"fanout": "8", "options": ["Port=2222"]}) == SshSettings(fanout=8, options=("Port=2222",))
