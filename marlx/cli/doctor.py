"""`marlx doctor`: likely problems of a run."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from marlx.cli.options import run_and_options
from marlx.cli.records import DoctorOptions
from marlx.text import printable


def doctor_command(argv: Sequence[str]) -> int:
    """`marlx doctor RUN [options]`."""
    path, options = run_and_options(argv, "doctor", DoctorOptions)
    from marlx.analysis.doctor import CHECKS, examine
    from marlx.analysis.run_data import read_run

    run = read_run(path)
    state = "finished" if run.finished else "not finished"
    steps = f"{run.steps[-1]:,.0f} steps"
    print(f"{printable(path)}: {run.algorithm} on {run.environment}, {steps}, {state}")
    findings = examine(run)
    for finding in findings:
        print("\n" + _filled(f"{finding.title}: {finding.seen}", "  ", "    "))
        print(_filled(f"look at: {', '.join(finding.look_at)}", "    ", " " * 13))
    if not findings:
        print("  nothing looks wrong")
    names = ", ".join(check.__name__.replace("_", " ") for check in CHECKS)
    print("\n" + _filled(f"checked, as far as the run tells: {names}", "  ", "  "))
    return 1 if findings and options.strict else 0


def _filled(text: str, first: str, rest: str) -> str:
    """Returns `text` in lines of at most 98 characters."""
    return textwrap.fill(text, 98, initial_indent=first, subsequent_indent=rest)
