import sys

import pytest


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    """A temporary working folder and no wandb settings."""
    monkeypatch.chdir(tmp_path)
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_PROJECT", "WANDB_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    yield
    if "wandb" in sys.modules:
        sys.modules["wandb"].teardown()  # it reads its settings only once
