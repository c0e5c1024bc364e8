"""An audited run to publish: a copy of a network of the package."""

from pathlib import Path

import pytest

from hiresnn.hub.pretrained import copy


@pytest.fixture
def run(tmp_path: Path) -> Path:
    copy("digits-hire", tmp_path / "mine")
    return tmp_path / "mine"
