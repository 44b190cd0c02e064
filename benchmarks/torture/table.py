"""Parts of a torture run: what each one did, kept in a file, and the one table of all of them."""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

COLUMNS = ("tracebacks", "hangs", "exit codes", "others")


@dataclasses.dataclass
class Part:
    """Cases of one kind that were run together.

    Attributes:
      kind: row of the table.
      cases: how many.
      failures: one mapping for each case that failed: "end" (its number), "words", "faults",
        and "error" or "err" with the text.
      upto: number of the first case that was not run.
      names: of the checks that were run, where they have names.
      missing: names of checks that there was no time for.
      seconds: that they took.
    """

    kind: str
    cases: int = 0
    failures: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    upto: int = 0
    names: list[str] = dataclasses.field(default_factory=list)
    missing: list[str] = dataclasses.field(default_factory=list)
    seconds: float = 0.0


def append(path: Path, part: Part) -> None:
    """Adds a part to the file of parts."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(dataclasses.asdict(part)) + "\n")


def read(path: Path) -> list[Part]:
    """Returns the parts in a file; none where there is no file."""
    if not path.exists():
        return []
    return [Part(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def merged(parts: Iterable[Part]) -> list[Part]:
    """Returns one part for each kind, in the order in which the kinds were first run."""
    found: dict[str, Part] = {}
    for part in parts:
        row = found.setdefault(part.kind, Part(part.kind))
        row.cases += part.cases
        row.failures += part.failures
        row.upto = max(row.upto, part.upto)
        row.names += part.names
        row.seconds += part.seconds
        row.missing += part.missing
    for row in found.values():
        row.missing = sorted(set(row.missing) - set(row.names))
    return list(found.values())


def column(fault: str) -> str:
    """Returns the column that a fault is counted in."""
    if fault in ("traceback", "worker") or fault.startswith("crash"):
        return "tracebacks"
    if fault in ("hang", "slow"):
        return "hangs"
    return "exit codes" if fault.startswith("exit") else "others"


def lines(parts: Sequence[Part]) -> list[str]:
    """Returns the lines of the table, a row for each kind and one for all.

    A failure is counted once, and each of its faults in the column that it belongs to.
    """
    rows = []
    for part in merged(parts):
        faults = [column(fault) for one in part.failures for fault in one["faults"]]
        counts = collections.Counter(faults)
        numbers = [part.cases, len(part.failures), *(counts[name] for name in COLUMNS)]
        rows.append((part.kind, numbers, part.seconds))
    total = [sum(column) for column in zip(*(numbers for _, numbers, _ in rows), strict=True)]
    rows.append(("all", total or [0] * 6, sum(seconds for *_, seconds in rows)))
    heads = ("cases", "failures", *COLUMNS, "minutes")
    found = [f"{'kind':<12}" + "".join(f"{name:>12}" for name in heads)]
    for kind, numbers, seconds in rows:
        cells = [*(f"{number:,}" for number in numbers), f"{seconds / 60:.1f}"]
        found.append(f"{kind:<12}" + "".join(f"{cell:>12}" for cell in cells))
    return found


def examples(parts: Sequence[Part]) -> list[str]:
    """Returns lines with the most frequent failures, each with the number of a case."""
    found = []
    for part in merged(parts):
        groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for one in part.failures:
            about = one.get("error") or one.get("err") or ""
            groups.setdefault((one["faults"][0], about.split("|")[-1][:80]), []).append(one)
        for (fault, about), alike in sorted(groups.items(), key=lambda pair: -len(pair[1]))[:12]:
            example = " ".join(repr(word)[:70] for word in alike[0]["words"])
            found.append(f"{part.kind}: {len(alike)} x {fault}: {about!r}")
            found.append(f"  case {alike[0]['end']}: {example[:300]}")
        if part.missing:
            found.append(f"{part.kind}: not run: {', '.join(part.missing)}")
    return found
