"""JSON files that no run has written are refused in one sentence."""

import pytest

from hiresnn.app.folder import RECORDS, read_record
from hiresnn.errors import RunError

WRONG = {
    "no JSON": "{",
    "another shape": "[1, 2]",
    "a number": "3",
    "a missing key": '{"other": 1}',
    "nesting of 100,000 levels": "[" * 100_000,
    "a number of 5,000 digits": '{"images": ' + "9" * 5000 + "}",
    "NaN": '{"clean": NaN, "attacks": {}, "images": 1, "seed": 0}',
    "a number that overflows": '{"clean": 1e999, "attacks": {}, "images": 1, "seed": 0}',
    "more than 100 percent": '{"clean": 1e308, "attacks": {}, "images": 1, "seed": 0}',
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("name", sorted(set(RECORDS) - {"environment.json"}))
def test_a_wrong_file_is_damaged(name: str, text: str) -> None:
    with pytest.raises(RunError, match=f"run/{name} is damaged .*; delete the file") as caught:
        read_record(text, name, f"run/{name}")
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


def test_an_environment_is_any_table() -> None:
    assert read_record('{"python": "3.11", "threads": 2}', "environment.json", "e") == {"python": "3.11", "threads": 2}
    with pytest.raises(RunError, match="e is damaged"):
        read_record("[]", "environment.json", "e")


def test_keys_of_later_versions_are_allowed() -> None:
    text = '{"clean": 1.0, "attacks": {"a": {"white_box": 2.0, "new": [1]}}, "images": 1, "seed": 0, "more": null}'
    assert read_record(text, "result.json", "r")["more"] is None
