"""Data of a file server behind a real sshd, by rsync and by tar."""

import os
import stat
import subprocess
from pathlib import Path

import pytest
from servers import sshd

from madrun.data import ssh
from madrun.data.mirror import fill
from madrun.data.providers import nas
from madrun.data.work import Means, Unreachable
from madrun.errors import DataError
from madrun.spec.credentials import Credentials
from madrun.spec.data import Fetch


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    if not Path("/usr/sbin/sshd").exists():
        pytest.skip("needs an sshd")
    with sshd(tmp_path_factory.mktemp("sshd")) as found:
        yield found


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "shelf" / "it's here"
    (folder / "sub").mkdir(parents=True)
    (folder / "a").write_text("alice")
    (folder / "sub" / "b\nc").write_text("bob")
    os.utime(folder / "a", (1, 2))
    return folder


@pytest.fixture
def get(server, tmp_path):
    """Fetches a path of the server to a mirror; `entries` are those of NAS_NODES."""
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}  # where ssh keeps what it knows is by user, not by HOME

    def get(path, entries=None, **means):
        nodes = [server.entry()] if entries is None else entries
        known = Credentials(entries={"NAS_NODES": nodes})
        fetches = (Fetch(provider="nas", place=str(path)),)
        return fill(tmp_path / "corpus", fetches, Means(credentials=known, env=env, **means))

    return get


@pytest.fixture(autouse=True)
def known_hosts(monkeypatch, tmp_path):
    """A list of known hosts of the test's own."""
    monkeypatch.setattr(ssh, "_WORDS", [*ssh._WORDS, "-o", f"UserKnownHostsFile={tmp_path}/known"])


@pytest.fixture(params=["rsync", "tar"])
def tool(request, monkeypatch):
    """The program that fetches: tar where this side has no rsync."""
    if request.param == "tar":
        monkeypatch.setattr(nas.shutil, "which", lambda name: None if name == "rsync" else f"/usr/bin/{name}")
    return request.param


def test_settings_name_a_server(tmp_path):
    key = tmp_path / "key"
    key.touch()
    entry = {"NAME": "n", "HOST": "h", "PORT": "2222", "USERNAME": "u", "PASSWORD": "geheim", "SSH_KEY_FILE": str(key)}
    found = ssh.server(entry)
    assert (found.port, found.key_file) == (2222, str(key))
    assert "geheim" not in repr(found)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"PORT": "x"}, "PORT: found 'x', allowed: 1 to 65535"),
        ({"PORT": "70000"}, "PORT: found '70000'"),
        ({"HOST": "-oProxyCommand=x"}, "found HOST '-oProxyCommand=x'"),
        ({"USERNAME": ""}, "USERNAME ''"),
        ({"SSH_KEY_FILE": "/no/key"}, "SSH_KEY_FILE /no/key does not exist"),
    ],
)
def test_an_entry_that_cannot_be_is_named(changes, part):
    with pytest.raises(Unreachable) as caught:
        ssh.server({"NAME": "n", "HOST": "h", "PORT": "22", "USERNAME": "u"} | changes)
    assert part in str(caught.value)


def test_a_password_stands_in_no_command_line_and_is_asked_for_by_a_program():
    server = ssh.Server(name="n", host="h", port=22, user="u", password="geheim")
    with ssh.client(server, {"PATH": "/bin"}) as client:
        asking = Path(client.env["SSH_ASKPASS"])
        assert stat.S_IMODE(asking.stat().st_mode) == 0o700
        assert "geheim" not in asking.read_text()
        assert "geheim" not in " ".join(client.command("true")) + client.shell + repr(client)
        said = subprocess.run([asking], env=dict(client.env), capture_output=True, text=True, check=True).stdout
        assert said == "geheim\n"
    assert not asking.exists()


@pytest.mark.e2e
@pytest.mark.beside
def test_a_directory_is_fetched_with_names_and_times_as_they_are(get, data, tmp_path, tool):
    filled = get(data)
    assert (filled.made, filled.provider, filled.bytes) == (True, "nas", 8)
    copy = tmp_path / "corpus"
    assert (copy / "a").read_text() == "alice"
    assert (copy / "sub" / "b\nc").read_text() == "bob"
    assert (copy / "a").stat().st_mtime == 2


@pytest.mark.e2e
@pytest.mark.beside
def test_a_single_file_is_fetched(get, data, tmp_path, tool):
    get(data / "a")
    assert (tmp_path / "corpus").read_text() == "alice"


class Stop(Exception):
    """What a run raises that is over."""


@pytest.mark.e2e
@pytest.mark.beside
def test_what_is_here_already_is_not_fetched_again(get, data, tmp_path, tool, monkeypatch):
    def cut(*_):
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr("madrun.data.manifest.demand", cut)
        with pytest.raises(Stop):
            get(data)
    (part,) = tmp_path.glob(".corpus.part-*/data/a")
    part.write_text("ALICE")
    os.utime(part, (1, 2))
    get(data)
    assert (tmp_path / "corpus" / "a").read_text() == "ALICE"


@pytest.mark.e2e
@pytest.mark.beside
def test_servers_are_tried_in_order_and_each_ones_reason_is_named(get, data, server, tmp_path):
    dead = server.entry(NAME="dead", PORT="1")
    assert get(data, [dead, server.entry()]).made
    (tmp_path / "other").mkdir()
    with pytest.raises(DataError) as caught:
        fill_elsewhere = [dead, server.entry(NAME="shelf")]
        (tmp_path / "corpus").rename(tmp_path / "other" / "corpus")
        get("/no/such/place", fill_elsewhere)
    text = str(caught.value)
    assert "dead (" in text
    assert "port 1): ssh failed with exit code 255" in text
    assert "/no/such/place does not exist there" in text


@pytest.mark.e2e
@pytest.mark.beside
def test_a_wrong_password_is_an_answer_and_no_question(get, data, server):
    entry = server.entry(PASSWORD="geheim-wrong")
    del entry["SSH_KEY_FILE"]
    with pytest.raises(DataError) as caught:
        get(data, [entry])
    assert "Permission denied" in str(caught.value)
    assert "geheim" not in str(caught.value)


@pytest.mark.e2e
@pytest.mark.beside
def test_a_host_key_that_changed_is_refused(get, data, server, tmp_path):
    other = (server.folder / "user.pub").read_text().rsplit(" ", 1)[0]
    (tmp_path / "known").write_text(f"[127.0.0.1]:{server.port} {other}\n")
    with pytest.raises(DataError, match="Host key verification failed"):
        get(data)


@pytest.mark.slow
def test_links_stay_links_and_those_that_lead_out_are_told(get, data, tmp_path, tool):
    (data / "link").symlink_to("sub/b\nc")
    (data / "out").symlink_to("/etc/hostname")
    told = []
    get(data, tell=told.append)
    assert (tmp_path / "corpus" / "link").read_text() == "bob"
    assert (tmp_path / "corpus" / "link").is_symlink()
    if tool == "tar":
        assert not os.path.lexists(tmp_path / "corpus" / "out")
        assert "./out: leads out of the data, and is left out: /etc/hostname" in told
