"""One headless Chromium for each module of tests that opens pages."""

from __future__ import annotations

import browser
import pytest


@pytest.fixture(scope="module")
def chrome(tmp_path_factory):
    if browser.CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    one = browser.Browser(tmp_path_factory.mktemp("chromium"))
    yield one
    one.close()
