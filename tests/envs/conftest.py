"""Golden pictures: what an environment draws is compared with a stored picture, at half size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def like_golden() -> Callable[..., None]:
    """`(name, picture)`: fails unless the picture is the stored one, but for how letters are drawn.

    `limit` is the largest mean difference. A deleted picture is drawn anew.
    """

    def compare(name: str, picture: np.ndarray, limit: float = 1.0) -> None:
        assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
        image = Image.fromarray(picture)
        small = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
        path = GOLDEN / f"{name}.png"
        if not path.exists():
            small.quantize(64).save(path, optimize=True)
            pytest.fail(f"{path.name} was missing; look at it and run again")
        with Image.open(path) as stored:
            kept = np.asarray(stored.convert("RGB"), int)
        found = np.asarray(small, int)
        assert found.shape == kept.shape and np.abs(found - kept).mean() < limit

    return compare
