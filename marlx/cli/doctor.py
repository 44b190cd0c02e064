"""`marlx doctor`: what looks wrong with a run."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from marlx.cli.options import DoctorOptions, run_and_options


def doctor_command(argv: Sequence[str]) -> int:
    """`marlx doctor RUN [options]`."""
    path, options = run_and_options(argv, "doctor", DoctorOptions)
    from marlx.doctor import CHECKS, examine
    from marlx.record import read_record

    record = read_record(path)
    state = "finished" if record.result else "not finished"
    name = f"{record.settings.get('algorithm')} on {record.settings.get('environment')}"
    print(f"{path}: {name}, {record.steps[-1]:,.0f} steps, {state}")
    findings = examine(record)
    for finding in findings:
        print(f"\n  {finding.title}: {finding.seen}")
        print(textwrap.fill(finding.look_at, 96, initial_indent="    look at: ",
                            subsequent_indent="             "))  # fmt: skip
    if not findings:
        print("  nothing looks wrong")
    names = ", ".join(check.__name__.replace("_", " ") for check in CHECKS)
    print("\n" + textwrap.fill(f"checked, as far as the run tells: {names}", 98,
                               initial_indent="  ", subsequent_indent="  "))  # fmt: skip
    return 1 if findings and options.strict else 0
