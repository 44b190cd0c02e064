"""`marlx list`: the algorithms and environments there are."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from marlx.text import unknown

if TYPE_CHECKING:
    from marlx.registry import Family

LIST_USAGE = """\
usage: marlx list [algos | envs] [WORD]

  marlx list             the algorithms and environments there are
  marlx list algos       algorithms, a line each
  marlx list envs        environments with their sizes: agents, actions, observation, horizon and,
                         where it is known, the best possible team return
  marlx list envs WORD   those whose family or id contains WORD
"""

_INDENT: Any = {"initial_indent": "  ", "subsequent_indent": "      ", "break_on_hyphens": False}


def list_command(argv: Sequence[str]) -> int:
    """`marlx list [algos | envs] [WORD]`."""
    if argv and argv[0] in ("-h", "--help"):
        print(LIST_USAGE, end="")
        return 0
    if argv and argv[0] not in ("algos", "envs"):
        raise unknown("list", argv[0], ("algos", "envs"))
    if len(argv) > (2 if argv[:1] == ["envs"] else 1):
        raise ValueError(f"marlx list {argv[0]} takes no {argv[-1]!r}; see marlx list --help")
    if not argv:
        _algorithms()
        print()
        _families()
    elif argv[0] == "algos":
        _algorithms()
    else:
        _environments(argv[1] if len(argv) > 1 else "")
    return 0


def _algorithms() -> None:
    from marlx.registry import algorithms

    print("algorithms")
    width = max(len(name) for name in algorithms())
    for algo in algorithms().values():
        print(f"  {algo.name:<{width}}  {algo.summary}")


def _families() -> None:
    from marlx.registry import families

    print("environments")
    for one in families().values():
        print(textwrap.fill(f"{one.name}: {one.usage}", 88, **_INDENT))
        for example in one.examples[:6]:
            print(f"      {example}")
    print("\n  marlx list envs shows their sizes, marlx train ALGO ENV --help every setting")


def _environments(word: str) -> None:
    """Print a table per family; other libraries are imported only if a family is named."""
    from marlx.registry import families

    found = {
        one: [id for id in one.examples if word.lower() in f"{one.name} {id}".lower()]
        for one in families().values()
    }
    found = {one: ids for one, ids in found.items() if ids}
    if not found:
        examples = [i for one in families().values() for i in one.examples]
        raise unknown("environment", word, examples, listed_by="marlx list envs")
    width = max(len(id) for ids in found.values() for id in ids)
    columns = f"  {'':<{width}}  agents  actions  observes  horizon  optimum"
    for number, (one, ids) in enumerate(found.items()):
        print("\n" * bool(number) + one.name)
        screen = max(60, shutil.get_terminal_size((88, 24)).columns)
        print(textwrap.fill(f"ids: {one.usage}", screen, **_INDENT))
        if one.extra and not word:
            print(f"  needs {one.extra}; marlx list envs {one.name} shows sizes")
            print("\n".join(f"  {id}" for id in ids))
            continue
        print(columns)
        for id in ids:
            print(f"  {id:<{width}}  {_sizes(one, id)}")


def _sizes(family: Family, env_id: str) -> str:
    try:
        spec = family.make(env_id).spec()
    except ValueError as error:  # its library is missing, or it is nothing without settings
        return f"  {' '.join(str(error).split())}"
    kind = "f" if spec.continuous else ""  # components of a continuous action
    optimum = "" if spec.optimum is None else f"{spec.optimum:g}"
    numbers = [str(spec.num_agents), _range(spec.action_sizes) + kind, _range(spec.obs_sizes)]
    agents, actions, seen = numbers
    return f"{agents:>6}  {actions:>7}  {seen:>8}  {spec.horizon:>7}  {optimum:>7}".rstrip()


def _range(sizes: Sequence[int]) -> str:
    low, high = min(sizes), max(sizes)
    return f"{low}" if low == high else f"{low}-{high}"
