"""`python -m ragfleet` is the command `ragfleet`."""

from ragfleet.cli import main

main()
