"""`marlx completion bash|zsh`: a script that completes commands, names and options on Tab."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from marlx.cli import records
from marlx.cli.help import option_name
from marlx.cli.protocol import COMMANDS
from marlx.cli.protocol_plan import ProtocolRunOptions
from marlx.cli.protocol_submit import SubmitOptions
from marlx.cli.protocol_table import TableOptions
from marlx.text import unknown

COMPLETION_USAGE = """\
usage: marlx completion bash | zsh

  marlx completion bash > ~/.local/share/bash-completion/completions/marlx
  marlx completion zsh > ~/.marlx-completion.zsh; echo 'source ~/.marlx-completion.zsh' >> ~/.zshrc

Completes commands, algorithms, environments and options. It holds the names that are installed
now; write it again after installing a plug-in.
"""

_OPTIONS: dict[str, type[Any]] = {
    "eval": records.EvalOptions,
    "render": records.RenderOptions,
    "doctor": records.DoctorOptions,
    "export": records.ExportOptions,
    "plot": records.PlotOptions,
    "report": records.ReportOptions,
    "sweep": records.SweepOptions,
    "reproduce": records.ReproduceOptions,
    "bench": records.BenchOptions,
}
"""The record of the options of each command that has one."""

_PROTOCOL: tuple[type[Any], ...] = (ProtocolRunOptions, TableOptions, SubmitOptions)

_BASH = """\
# completion of marlx, written by `marlx completion`
_marlx() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} command=${{COMP_WORDS[1]}}
  local algorithm=${{COMP_WORDS[2]%%,*}} words= before=
  if [ "$COMP_CWORD" -eq 1 ]; then
    words="{commands}"
  elif [ "${{word#-}}" != "$word" ]; then
    case $command in
    train)
      words="{train}"
      case $algorithm in
{learners}
      esac ;;
{options}
    esac
  elif [ "$command" = list ]; then
    words="algos envs"
  elif [ "$command $COMP_CWORD" = "protocol 2" ]; then
    words="{protocol_commands}"
  elif [ "$command $COMP_CWORD" = "protocol 3" ]; then
    words="{cards}"
  elif [ "$command $COMP_CWORD" = "protocol 4" ]; then
    words="{algorithms}"
  elif [ "$command" = completion ]; then
    words="bash zsh"
  elif [ "$command" = train ] && [ "$COMP_CWORD" -eq 2 ]; then
    words="{algorithms}"
  elif [ "$command $COMP_CWORD" = "render 2" ] || [ "$command $COMP_CWORD" = "train 3" ]; then
    words="{environments}"
  fi
  case "$command $COMP_CWORD $word" in
  "train "[23]" "*,*)  # after a comma another name, which is completed alone
    before=${{word%,*}}, word=${{word##*,}} ;;
  esac
  COMPREPLY=($(compgen -P "$before" -W "$words" -- "$word"))
}}
complete -o default -F _marlx marlx
"""

_ZSH = "autoload -U +X compinit && compinit -u\nautoload -U +X bashcompinit && bashcompinit\n"


def completion_command(argv: Sequence[str], commands: Sequence[str]) -> int:
    """`marlx completion bash|zsh`; `commands` are those that there are."""
    if list(argv[:1]) in (["-h"], ["--help"]):
        print(COMPLETION_USAGE, end="")
        return 0
    if len(argv) != 1:
        raise ValueError("marlx completion takes the name of a shell: bash or zsh")
    if argv[0] not in ("bash", "zsh"):
        raise unknown("shell", argv[0], ("bash", "zsh"))
    print(_ZSH * (argv[0] == "zsh") + _script(commands), end="")
    return 0


def _script(commands: Sequence[str]) -> str:
    from marlx.analysis.protocol_cards import card_names
    from marlx.loop.settings import TrainConfig
    from marlx.registry import algorithms, families

    cases = {name: _options(cls) for name, cls in _OPTIONS.items()}
    cases["eval"] += ["--env"]
    cases["protocol"] = [option for cls in _PROTOCOL for option in _options(cls)]
    learners = {name: _options(one.config, "learner.") for name, one in algorithms().items()}
    return _BASH.format(
        commands=" ".join(commands),
        train=" ".join(["--help", *_options(TrainConfig), *_options(records.Output)]),
        learners=_cases(learners, "      ", '"$words {}"'),
        options=_cases(cases, "    ", '"--help {}"'),
        algorithms=" ".join(algorithms()),
        protocol_commands=" ".join(COMMANDS),
        cards=" ".join(card_names()),
        environments=" ".join(id for one in families().values() for id in one.examples),
    )


def _cases(words: Mapping[str, Sequence[str]], indent: str, form: str) -> str:
    return "\n".join(
        f"{indent}{name}) words={form.format(' '.join(options))} ;;"
        for name, options in words.items()
    )


def _options(cls: type[Any], prefix: str = "") -> list[str]:
    """Returns the options of a record's fields, those of its parts included."""
    from marlx.config.tree import flatten
    from marlx.registry import settings_of

    assert dataclasses.is_dataclass(cls)
    return [f"--{option_name(prefix + name)}" for name in flatten(settings_of(cls))]
