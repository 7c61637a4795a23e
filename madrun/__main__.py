"""`python -m madrun` is the same as the `madrun` command."""

from madrun.cli import main

main()
