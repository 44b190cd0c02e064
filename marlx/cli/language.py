"""`marlx language RUN`: the languages that the seeds of a run have found."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from marlx.cli.cache import use_compilation_cache
from marlx.cli.options import run_and_options
from marlx.cli.shared import like_path
from marlx.settings import LARGEST_SEED, setting
from marlx.text import printable

if TYPE_CHECKING:
    from marlx.analysis.languages import SpokenLanguage


@dataclasses.dataclass(frozen=True, kw_only=True)
class LanguageOptions:
    """Messages of a run's speakers about each object of a signalling game, and their structure."""

    compare: int = setting(0, at_least=0, at_most=LARGEST_SEED)
    """Number of the seeded language (`language_0`) that symbols are compared with."""
    examples: int = setting(5, at_least=0, at_most=1000)
    """Objects of the run's first seed to print with their messages."""
    json: bool = False
    """Print one JSON object, with all messages, instead of the table."""


def language_command(argv: Sequence[str]) -> int:
    """`marlx language RUN [options]`."""
    path, options = run_and_options(argv, "language", LanguageOptions)
    if not Path(path).is_dir():
        raise ValueError(f"{path} is not the folder of a run{like_path(path)}")
    use_compilation_cache()
    from marlx.analysis.languages import spoken_language
    from marlx.runs.policies import load_policy

    first = load_policy(path)
    count, start = first.experiment.train.seeds, first.experiment.train.seed
    rows, found = [], []
    for seed in range(start, start + count):
        language = spoken_language(load_policy(path, seed))
        seeded = first.env.seeded_messages  # type: ignore[attr-defined]
        other = seeded(options.compare, language.objects)
        found.append(language)
        rows.append(
            {
                "seed": seed,
                "objects": len(language.objects),
                "different_messages": language.different,
                "topographic_similarity": round(language.topographic_similarity, 4),
                "agreement": None if other is None else round(language.agreement(other), 4),
            }
        )
    if options.json:
        said = [dict(zip(*pair, strict=True)) for pair in map(_pairs, found)]
        seeds = [{**row, "messages": one} for row, one in zip(rows, said, strict=True)]
        print(json.dumps({"run": str(path), "compared_with": options.compare, "seeds": seeds}))
        return 0
    print(f"{printable(path)}: {first.spec.id}, {len(found[0].objects)} objects")
    head = "seed   different messages   topographic similarity   agrees with"
    print(f"  {head} language_{options.compare}")
    for row in rows:
        agrees = "-" if row["agreement"] is None else f"{row['agreement']:.2f}"
        print(
            f"  {row['seed']:4}   {row['different_messages']:18}"
            f"   {row['topographic_similarity']:22.2f}   {agrees}"
        )
    for name, message in list(zip(*_pairs(found[0]), strict=True))[: options.examples]:
        print(f"  {name} -> {' '.join(map(str, message))}")
    return 0


def _pairs(language: SpokenLanguage) -> tuple[list[str], list[list[int]]]:
    """Returns the objects of a language as text, and their messages."""
    names = [" ".join(map(str, row)) for row in language.values.tolist()]
    return names, language.messages.tolist()
