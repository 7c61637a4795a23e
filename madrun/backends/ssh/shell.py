"""Shell text as one word for whatever login shell a user has on a host."""

from __future__ import annotations

import string

# What sh, bash, zsh, csh, tcsh and fish all leave alone between single quotes; csh ends a quote at the end of a line.
_SAFE = frozenset(string.ascii_letters + string.digits + " _-+=:,./@^[]{}()<>|&;*?~#%".replace("%", ""))


def for_any_shell(script: str) -> str:
    """A command line that runs this text of sh with its own standard input, under any login shell.

    sshd gives the line to the user's shell, `SHELL -c LINE`, sshd(8). All but plain letters is spelt as `\\0NNN`, which
    printf(1) of POSIX reads back from the argument of `%b`.
    """
    spelt = "".join(
        letter if letter in _SAFE else "".join(f"\\0{byte:03o}" for byte in letter.encode()) for letter in script
    )
    return f'exec /bin/sh -c \'eval "$(printf %b "{spelt}")"\''
