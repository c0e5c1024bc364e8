"""What tests of attacks share."""

import pytest
from pyautoattack import AutoAttack


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """AutoAttack has no option that shortens it: with this it takes 5 iterations of 2 draws, and 20 queries."""
    whole = AutoAttack._set_version

    def shortened(self: AutoAttack, version: str) -> None:
        whole(self, version)
        self.apgd.n_iter = self.apgd_targeted.n_iter = self.fab.n_iter = 5
        self.apgd.eot_iter, self.square.n_queries = min(self.apgd.eot_iter, 2), 20

    monkeypatch.setattr(AutoAttack, "_set_version", shortened)
