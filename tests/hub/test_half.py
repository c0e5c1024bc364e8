"""Weights in float16: the loaded network is the rounded one, and the model card says so."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hiresnn import data
from hiresnn.errors import RunError, UsageError
from hiresnn.hub.__main__ import main
from hiresnn.hub.half import NOTE, _rounded
from hiresnn.hub.model_card import model_card
from hiresnn.hub.pretrained import from_pretrained
from hiresnn.hub.zoo import shipped
from hiresnn.runs.folder import MODEL, RunFolder


def test_a_run_is_written_with_half_the_bytes_and_the_number_of_changed_decisions(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "half"
    assert "Next: hiresnn evaluate" in main(["--half", str(run), str(out)])
    assert {path.name for path in out.iterdir()} == {MODEL, "environment.json", "metrics.jsonl", "recipe.toml"}
    assert (out / MODEL).stat().st_size < 0.56 * (run / MODEL).stat().st_size
    before, after = load_file(run / MODEL), load_file(out / MODEL)
    assert {tensor.dtype for tensor in after.values() if tensor.dim() > 1} == {torch.float16}
    assert all(torch.equal(after[name], value) for name, value in before.items() if value.dim() < 2)
    network = from_pretrained(out)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name].half().float() if value.dim() > 1 else before[name])
        assert value.dtype == before[name].dtype
    images = data.load("digits").test.images / 255
    with torch.no_grad():
        changed = int((network(images).argmax(1) != from_pretrained(run)(images).argmax(1)).sum())
    assert RunFolder.open(out).read_json("environment.json")[NOTE].startswith(f"float16; {changed} of 355 test images")
    with pytest.raises(UsageError, match="exists and is not replaced"):
        main(["--half", str(run), str(out)])


def test_the_model_card_says_how_the_weights_are_stored() -> None:
    run = shipped()[0]
    note = "float16; 0 of 355 test images get another class"
    assert note in model_card(replace(run, environment={**run.environment, NOTE: note}), "a/b")
    assert "float16" not in model_card(run, "a/b")


def test_a_weight_beyond_float16_is_refused() -> None:
    with pytest.raises(RunError, match="above 65,504"):
        _rounded(torch.full((2, 2), 70_000.0), "file: layer")
