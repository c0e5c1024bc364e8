"""An audited run to publish, and a stand-in for the hub."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hiresnn.hub.pretrained import copy


@pytest.fixture
def run(tmp_path: Path) -> Path:
    copy("digits-hire", tmp_path / "mine")
    return tmp_path / "mine"


class Hub(ModuleType):
    """Stands for huggingface_hub and its HfApi: one repository, me/mine, which is a folder here."""

    def __init__(self, folder: Path) -> None:
        super().__init__("huggingface_hub")
        self.folder, self.asked, self.HfApi = folder, [], lambda: self

    def _ask(self, repository: str, options: dict[str, Any]) -> None:
        self.asked.append((repository, options))
        if repository != "me/mine":
            raise OSError("404\nnot found")

    def snapshot_download(self, repository: str, **options: Any) -> str:
        self._ask(repository, options)
        return str(self.folder)

    def create_repo(self, repository: str, **options: Any) -> str:
        self._ask(repository, options)
        return f"https://example.org/{repository}"

    def upload_folder(self, repo_id: str, **options: Any) -> None:
        self._ask(repo_id, options)


@pytest.fixture
def hub(run: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    monkeypatch.setitem(sys.modules, "huggingface_hub", Hub(run))
    return sys.modules["huggingface_hub"]
