"""Shows type checkers and editors the marlx of this checkout, in the environment of this Python.

An editable install is found by a hook that only Python runs; mypy and editors look for folders on
`sys.path`, and would take all of marlx for `Any`. This adds the checkout to that path, at its
end. `make setup` runs it after the install.
"""

import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def show_types() -> None:
    """Writes `marlx-types.pth`."""
    Path(sysconfig.get_path("purelib"), "marlx-types.pth").write_text(f"{ROOT}\n", "utf-8")


if __name__ == "__main__":
    if sys.prefix == sys.base_prefix:
        sys.exit("show_types.py: this is no virtual environment; run it with the Python of one")
    show_types()
