"""`python -m marlx`, for where the command `marlx` is not on the path."""

from marlx.cli import main

main()
