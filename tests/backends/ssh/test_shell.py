"""A text of sh as one word: it is run as it was written, whatever its letters, with the input that ssh gives it."""

import shlex
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from madrun.backends.ssh.shell import for_any_shell

TEXT = """case "it's" in *\\'*) printf '%s\\n' "a $(echo b) \\\\ 100% `echo c` !x é $HOME"; esac
while read -r line; do echo "<$line>"; done
exit 7
"""
SHELLS = [shell for shell in ("sh", "bash", "dash", "zsh", "csh", "tcsh", "fish") if shutil.which(shell)]


@pytest.mark.parametrize("shell", SHELLS)
def test_every_login_shell_leaves_it_as_it_is(shell):
    done = subprocess.run([shell, "-c", for_any_shell(TEXT)], input="one\ntwo\n", capture_output=True, text=True)
    home = subprocess.run(["sh", "-c", 'printf %s "$HOME"'], capture_output=True, text=True).stdout
    assert done.stdout == f"a b \\ 100% c !x é {home}\n<one>\n<two>\n"
    assert (done.returncode, done.stderr) == (7, "")


def test_it_is_one_line_without_what_a_shell_might_read_in_quotes():
    line = for_any_shell(TEXT)
    assert "\n" not in line
    inside = line.partition("'")[2].rpartition("'")[0]
    assert not set("'!`") & set(inside)


@pytest.mark.slow
@settings(max_examples=60)
@given(st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"]), max_size=40))
def test_any_text_arrives(text):
    done = subprocess.run(["sh", "-c", for_any_shell(f"printf %s {shlex.quote(text)}")], capture_output=True)
    assert done.stdout.decode() == text
