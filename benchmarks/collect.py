"""Put results that other scripts left into the one format of `benchmarks/reference/`.

    python benchmarks/collect.py

`learning.py` writes references itself; what it left in `results/learning/` before it did is moved.
`gmah.py` and `mansa.py` keep files of their own, with what only their pictures need: what is common
to all results is copied. Running it again changes nothing that did not change.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from marlx.analysis.reproduction import Reference, config_hash, write

HERE = Path(__file__).parent
ABOUT = ("date", "versions", "device", "algorithm", "environment")
DRAWN = ("sampled_return", "sampled_interval", "sampled_per_seed")


def learning(name: str, old: Mapping[str, Any]) -> Reference:
    """From a file of `learning.py`, all seeds of which were trained together."""
    first = old["settings"]["seed"]
    return Reference(
        id=name,
        **{key: old[key] for key in (*ABOUT, "command", "settings")},
        config_hash=config_hash(old["settings"]),
        seeds=list(range(first, first + old["settings"]["seeds"])),
        mean=old["return"],
        **{key: old[key] for key in ("interval", "per_seed", "episodes_per_seed")},
        **{key: old[key] for key in ("random_return", "optimum", "steps", "curve", "seconds")},
        train_curve=old.get("train_curve"),
        extra={key: old[key] for key in DRAWN if key in old},
    )


def gmah(name: str, old: Mapping[str, Any]) -> Reference:
    """From a file of `gmah.py`, which trains seeds one by one and keeps the last one's times."""
    settings = old["settings"] | {"seeds": len(old["seeds"]), "seed": old["seeds"][0]}
    return Reference(
        id=name,
        **{key: old[key] for key in (*ABOUT, "seeds", "interval", "per_seed")},
        command=f"{old['command']} --seeds {len(old['seeds'])}",
        config_hash=config_hash(settings),
        settings=settings,
        mean=old["return"],
        episodes_per_seed=len(old["returns"][0]),
        **{key: old[key] for key in ("random_return", "optimum", "steps", "curve", "returns")},
        extra={"achieved": old["achieved"]} if old["achieved"] else {},
    )


def mansa(name: str, old: Mapping[str, Any]) -> Reference | None:
    """From a file of `mansa.py`; None where training did not end, or it is no run at all."""
    if not old.get("finished"):
        return None
    first = old["settings"]["seed"]
    called = {key: old[key] for key in ("greedy_call_rate",) if key in old}
    return Reference(
        id=name,
        **{key: old[key] for key in (*ABOUT, "settings", "interval", "per_seed")},
        command=None,
        config_hash=config_hash(old["settings"]),
        seeds=list(range(first, first + old["settings"]["seeds"])),
        mean=old["final"],
        episodes_per_seed=None,
        **{key: old[key] for key in ("random_return", "optimum", "steps", "seconds")},
        curve=old["return"],
        extra=called,
    )


def identity(kind: str, stem: str) -> str:
    """A reference's id: what MANSA was compared with is not the same run as `learning.py`'s."""
    return f"mansa-against-{stem}" if kind == "mansa" and not stem.startswith("mansa") else stem


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    for kind, convert in (("learning", learning), ("gmah", gmah), ("mansa", mansa)):
        for path in sorted((HERE / "results" / kind).glob("*.json")):
            old = json.loads(path.read_text(encoding="utf-8"))
            stored = convert(identity(kind, path.stem), old)
            if stored is None:
                print(f"{path.name}: no finished run")
                continue
            print(write(HERE / "reference", stored).name)
            if kind == "learning":
                path.unlink()  # everything it held is in the reference


if __name__ == "__main__":
    main()
