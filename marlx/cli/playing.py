"""`marlx play`: a person takes a seat in a trained team."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from marlx.cli.cache import use_compilation_cache
from marlx.cli.options import run_and_options
from marlx.cli.records import PlayWithOptions
from marlx.text import bytes_text, printable


def play_command(argv: Sequence[str]) -> int:
    """`marlx play RUN [options]`."""
    path, options = run_and_options(argv, "play", PlayWithOptions)
    if options.to is not None:
        return _write_page(path, options)
    record = Path(options.record or Path(path) / "played.jsonl")
    if not record.parent.is_dir():
        raise ValueError(f"cannot write {record}: there is no folder {record.parent}")
    use_compilation_cache()
    from marlx.viewer.serving import Server
    from marlx.viewer.table import Table

    table = Table(path, options.policy_seed, options.seed, record)
    try:
        server = Server({"": table.page, "start": table.start, "act": table.act}, options.port)
    except OSError as error:
        raise ValueError(f"--port {options.port}: {error.strerror or error}") from None
    print(f"{server.url}  open it in a browser on this computer; Ctrl-C ends", flush=True)
    print(f"finished episodes go to {printable(record)}", flush=True)
    server.serve()  # until a signal ends the process
    return 0


def _write_page(path: str, options: PlayWithOptions) -> int:
    """Write the page that plays by itself."""
    out = Path(str(options.to))
    if out.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"--to is {out}; it must end in .html")
    if not out.parent.is_dir():
        raise ValueError(f"cannot write {out}: there is no folder {out.parent}")
    if out.is_dir():
        raise ValueError(f"cannot write {out}: it is a folder")
    use_compilation_cache()
    import jax

    from marlx.viewer.play import play_page

    text = play_page(path, options.policy_seed, jax.random.key(options.seed))
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ValueError(f"cannot write {out}: {error.strerror or error}") from None
    print(f"{printable(out)}: {bytes_text(len(text))}; open it in a browser and play")
    return 0
