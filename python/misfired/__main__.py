"""`python -m misfired` is the `misfired` command."""

from misfired.cli import main

main()
