"""Cards that a program makes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from madrun.registry.mad import generator
from madrun.registry.mad.generator import Question, ask

pytestmark = pytest.mark.slow  # real processes or commands in most of them

IMPORT = "from madengine.utils.discover_models import CustomModel\n"
LISTS = 'def list_models():\n    return [CustomModel(name="a", scripts="run.sh", dockerfile="d")]\n'


@pytest.fixture
def write(tmp_path):
    """Writes scripts/<name>/get_models_json.py and returns its path."""

    def make(text, name="one"):
        file = tmp_path / "scripts" / name / "get_models_json.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    return make


@pytest.fixture
def answer(write, tmp_path):
    """The answer of a generator with this text."""

    def get(text, names=(), limit_s=20.0):
        (found,) = ask([Question(write(text), names)], tmp_path, limit_s)
        return found

    return get


def names(found):
    return [card["entry"]["name"] for card in found.cards]


def test_a_generator_that_calls_git_imports_a_sibling_and_prints_lists_correctly(answer, tmp_path):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts/host_device.py").write_text("NAME = 'mi300x'\nprint('imported')\n")
    (tmp_path / "scripts/one").mkdir()
    (tmp_path / "scripts/one/beside.py").write_text("ARGS = '--x 1'\n")
    found = answer(
        "import os, subprocess, sys\n"
        "sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))\n"
        "from host_device import NAME\n"
        "from beside import ARGS\n"
        "top = subprocess.run(['git', 'rev-parse', '--show-toplevel'], check=True, capture_output=True, text=True)\n"
        "subprocess.run('echo from a shell; cat', shell=True, check=True)\n"
        "print('listing' * 50_000, flush=True)\n"
        f"{IMPORT}"
        "def list_models():\n"
        "    sys.stderr.write('no checkout\\n\\n')\n"
        "    return [CustomModel(name=NAME, args=ARGS, owner=top.stdout.strip(), tags=[os.getcwd()])]\n"
    )
    assert found.error is None
    entry = found.cards[0]["entry"]
    assert (entry["name"], entry["args"], entry["n_gpus"], entry["timeout"]) == ("mi300x", "--x 1", "-1", 7200)
    assert (Path(entry["owner"]).resolve(), entry["tags"]) == (tmp_path.resolve(), [str(tmp_path)])
    assert found.said == ("no checkout",)
    assert list(tmp_path.rglob("__pycache__")) == []


@pytest.mark.parametrize("place", ["madengine.utils.discover_models", "madengine.tools.discover_models"])
def test_both_import_names_give_the_same_class(answer, place):
    assert names(answer(f"from {place} import CustomModel\n{LISTS}")) == ["a"]


def test_our_names_count_also_where_another_package_of_that_name_is_installed(answer, tmp_path, monkeypatch):
    real = tmp_path / "site/madengine"
    (real / "utils").mkdir(parents=True)
    for file in ("__init__.py", "utils/__init__.py", "utils/discover_models.py"):
        (real / file).write_text("raise RuntimeError('the other one')\n")
    (real / "utils/other.py").write_text("ARGS = '--other'\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    found = answer(f"{IMPORT}from madengine.utils.other import ARGS\n{LISTS}".replace('"d"', '"d", args=ARGS'))
    assert found.cards[0]["entry"]["args"] == "--other"


def test_a_program_that_the_generator_starts_knows_the_names_too(answer):
    child = "import madengine.utils.discover_models as m; print(m.CustomModel().n_gpus)"
    text = f"import subprocess, sys\n{IMPORT}n = subprocess.run([sys.executable, '-c', {child!r}], check=True)\n{LISTS}"
    assert names(answer(text)) == ["a"]


HOOKED = (
    "from __future__ import annotations\n"
    "import sys\n"
    "from dataclasses import dataclass\n"
    f"{IMPORT}"
    "@dataclass\n"
    "class Mine(CustomModel):\n"
    "    config: str = ''\n"
    "    def update_model(self):\n"
    "        sys.stderr.write(f'updating {self.name}\\n')\n"
    "        self.args += f' --config {self.config}'\n"
    "def list_models():\n"
    "    return [Mine(name='a', config='a.yaml'), Mine(name='b', config='b.yaml'), CustomModel(name='c')]\n"
)


def test_the_hook_of_a_card_is_called_only_once_it_is_selected(answer):
    listed = answer(HOOKED)
    assert [(card["entry"]["args"], card["hook"]) for card in listed.cards] == [("", True), ("", True), ("", False)]
    assert listed.said == ()
    chosen = answer(HOOKED, names=("b",))
    assert [(card["name"], card["entry"]["args"]) for card in chosen.cards] == [("b", " --config b.yaml")]
    assert chosen.said == ("updating b",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\nraise ValueError('so wrong')\n", "get_models_json.py:2: ValueError: so wrong"),
        (f"{IMPORT}def list_models():\n    return {{}}['k']\n", "get_models_json.py:3: KeyError: 'k'"),
        ("def list_models(:\n", "get_models_json.py:1: SyntaxError: "),
        ("import nothing_of_that_name\n", "get_models_json.py:1: ModuleNotFoundError: "),
        ("import json\njson.loads('{')\n", "get_models_json.py:2: json.decoder.JSONDecodeError: "),
        ("import sys\nsys.exit(3)\n", "get_models_json.py:2: ends the program (SystemExit: 3)"),
        ("import os\nos._exit(3)\n", "get_models_json.py: ended without an answer (exit code 3)"),
        ("import os\nos.kill(os.getpid(), 9)\n", "get_models_json.py: ended without an answer (Killed)"),
        ("models = []\n", "found no list_models()"),
        ("list_models = []\n", "found no list_models()"),
        ("def list_models(): return None\n", "list_models() returned NoneType, allowed: a list of CustomModel objects"),
        (
            "def list_models(): return [{'name': 'a'}]\n",
            "list_models() returned dict at 0, allowed: CustomModel objects",
        ),
        (
            f"{IMPORT}def list_models(): return [CustomModel(name='a', owner=object())]\n",
            "a: owner: found object, allowed: what JSON can hold",
        ),
        (f"{IMPORT}def list_models(): return [CustomModel(name='a', nmae='b')]\n", "TypeError: "),
        (f"{IMPORT}def list_models():\n    raise KeyboardInterrupt\n", "get_models_json.py:3: KeyboardInterrupt"),
    ],
)
def test_what_is_wrong_with_a_generator_is_said_with_its_file(answer, write, text, said):
    found = answer(text)
    assert found.cards == []
    assert str(found.error).startswith(str(write(text)))
    assert said in str(found.error)


def test_an_error_in_another_file_names_that_one_too(answer, tmp_path):
    (tmp_path / "scripts/one").mkdir(parents=True)
    (tmp_path / "scripts/one/beside.py").write_text("\n\n1 / 0\n")
    found = answer("import beside\n")
    assert "get_models_json.py:1: ZeroDivisionError: division by zero (raised in " in str(found.error)
    assert "beside.py:3)" in str(found.error)


def alive(pid):
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_a_generator_that_hangs_is_ended_with_all_that_it_has_started(answer, tmp_path):
    pid_file = tmp_path / "pid"
    found = answer(
        "import signal, subprocess, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"open({str(pid_file)!r}, 'w').write(str(subprocess.Popen(['sleep', '100']).pid))\n"
        "time.sleep(100)\n",
        limit_s=0.7,
    )
    assert "did not end within 0.7 s, it was ended; a longer limit: MADRUN_GENERATOR_TIMEOUT=10m" in str(found.error)
    deadline = time.monotonic() + 60
    while alive(int(pid_file.read_text())) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(int(pid_file.read_text()))


def test_a_process_that_is_left_behind_holds_nobody_up(answer, tmp_path):
    pid_file = tmp_path / "pid"
    leaves = f"import subprocess\nopen({str(pid_file)!r}, 'w').write(str(subprocess.Popen(['sleep', '1200']).pid))\n"
    began = time.monotonic()
    found = answer(f"{leaves}{IMPORT}{LISTS}")
    try:
        assert names(found) == ["a"]
        assert time.monotonic() - began < 120
    finally:
        os.kill(int(pid_file.read_text()), signal.SIGKILL)


def test_what_a_generator_leaves_behind_ends_with_it(answer, tmp_path):
    mark = tmp_path / "pid"
    found = answer(
        IMPORT + LISTS + "import subprocess\n"
        f"open({str(mark)!r}, 'w').write(str(subprocess.Popen(['sleep', '60']).pid))\n"
    )
    assert names(found) == ["a"]
    left = Path(f"/proc/{mark.read_text()}/stat")
    deadline = time.monotonic() + 60
    while left.exists() and left.read_text().split()[2] != "Z" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not left.exists() or left.read_text().split()[2] == "Z"


@pytest.mark.parametrize(
    ("trick", "said"),
    [
        (
            "import os\nfor fd in range(3, 64):\n    try: os.write(fd, b'\\xff{')\n    except OSError: pass\n",
            "overwritten",
        ),
        ("import os\nos.closerange(3, 64)\n", "ended without an answer"),
        ("import os\nos._exit(0)\n", "ended without an answer (exit code 0)"),
    ],
    ids=["writes into every file", "closes every file", "ends at once"],
)
def test_a_generator_that_plays_with_open_files_is_an_error_with_its_name(answer, write, trick, said):
    found = answer(IMPORT + trick + LISTS)
    assert found.cards == []
    assert said in str(found.error)
    assert str(write("")) in str(found.error)


def test_a_copy_of_the_process_answers_once(answer):
    assert names(answer(IMPORT + "import os\nos.fork()\n" + LISTS)) == ["a"]


def test_of_much_that_a_generator_says_the_end_is_kept(answer):
    found = answer(IMPORT + LISTS + "import sys\nsys.stderr.buffer.write(b'\\xff\\n' * 2_000_000 + b'last\\n')\n")
    assert names(found) == ["a"]
    assert len(found.said) == 20
    assert found.said[-1] == "last"


def test_several_run_at_once_and_answer_in_order(write, tmp_path, monkeypatch):
    monkeypatch.setattr(generator, "_AT_ONCE", 3)
    here = str(tmp_path / "here")
    text = (
        f"import os, time\nopen({here!r} + str(os.getpid()), 'w')\n"
        "end = time.monotonic() + 60\n"
        f"def here(): return [name for name in os.listdir({str(tmp_path)!r}) if name.startswith('here')]\n"
        "while len(here()) < 3 and time.monotonic() < end:\n"
        "    time.sleep(0.01)\n"
        f"assert time.monotonic() < end\n{IMPORT}"
    )
    files = [write(text + LISTS.replace('"a"', f'"m{index}"'), f"d{index}") for index in range(4)]
    found = list(ask(map(Question, files), tmp_path, 30.0))
    assert [(answer.error, *names(answer)) for answer in found] == [(None, f"m{index}") for index in range(4)]


def test_who_stops_asking_leaves_no_process_behind(write, tmp_path):
    pid_file = tmp_path / "pid"
    slow = write(f"import os, time\nopen({str(pid_file)!r}, 'w').write(str(os.getpid()))\ntime.sleep(100)\n", "slow")
    answers = ask([Question(write(IMPORT + LISTS)), Question(slow)], tmp_path, 60.0)
    next(answers)
    deadline = time.monotonic() + 60
    while not (pid_file.exists() and pid_file.read_text()) and time.monotonic() < deadline:
        time.sleep(0.01)
    answers.close()
    assert not alive(int(pid_file.read_text()))


def test_the_program_needs_nothing_of_the_package(tmp_path, write):
    program = Path(generator.__file__).parent / "shim/ask_generator.py"
    with (tmp_path / "answer").open("wb") as target:
        command = [sys.executable, "-S", "-B", str(program), str(write(IMPORT + LISTS)), str(target.fileno()), "9"]
        subprocess.run(command, check=True, pass_fds=(target.fileno(),), cwd=tmp_path, timeout=60)
    assert '"name": "a"' in (tmp_path / "answer").read_text()
