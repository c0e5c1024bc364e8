"""What an environment says of the processes that torchrun started, and what it does not."""

import pytest

from hiresnn.process import leads, processes


@pytest.mark.parametrize(
    ("environment", "several", "leading"),
    [
        ({}, 1, True),
        ({"RANK": "1"}, 1, True),  # left behind by another program
        ({"WORLD_SIZE": "1", "RANK": "0"}, 1, True),
        ({"WORLD_SIZE": "", "RANK": "1"}, 1, True),
        ({"WORLD_SIZE": "2", "RANK": "0"}, 2, True),
        ({"WORLD_SIZE": "2", "RANK": "1"}, 2, False),
    ],
)
def test_a_process_is_one_of_several_where_the_world_is_larger_than_one(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], several: int, leading: bool
) -> None:
    for name in ("WORLD_SIZE", "RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert (processes(), leads()) == (several, leading)
