"""The rows of a training in a log of the user's, and in TensorBoard."""

import json

import pytest

from hiresnn.app.recipe import override, read
from hiresnn.app.train import log_to, train
from hiresnn.errors import UsageError
from hiresnn.progress import Progress

TINY = {
    "data.train_images": "40", "ann.epochs": "2", "snn.epochs": "1", "model.width": "0.05", "model.hidden": "8",
    "compile": "never",
}  # fmt: skip


def test_a_function_gets_every_row_that_metrics_jsonl_has(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        f"import json\n\n\ndef log(row):\n    with open({str(tmp_path / 'rows')!r}, 'a') as rows:\n"
        "        rows.write(json.dumps(row) + '\\n')\n"
    )
    recipe = override(read("digits"), {**TINY, "method": "hire"})
    run = train(recipe, out=tmp_path / "runs" / "run", progress=Progress(quiet=True), log=f"{file}:log")
    rows = [json.loads(line) for line in (tmp_path / "rows").read_text().splitlines()]
    assert [(row["stage"], row["epoch"]) for row in rows] == [("ann", 1), ("ann", 2), ("snn", 1)]
    assert rows[-1:] == [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_a_log_that_fails_or_does_not_exist_is_named(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def log(row):\n    raise ValueError('full')\n")
    with pytest.raises(UsageError, match="ValueError: full"):
        log_to(f"{file}:log", tmp_path)({"epoch": 1})
    with pytest.raises(UsageError, match="other"):
        log_to(f"{file}:other", tmp_path)
    with pytest.raises(UsageError, match="tensorbord"):
        log_to("tensorbord", tmp_path)


def test_tensorboard_gets_every_number(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log_to("tensorboard", tmp_path)({"stage": "snn", "epoch": 3, "loss": 0.5, "leaks": {"lif1": 1.0}})
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("snn/loss")] == [(3, 0.5)]
    assert events.Scalars("snn/leaks/lif1")[0].value == 1.0


def test_a_log_cannot_change_the_row_and_its_exit_is_a_sentence(tmp_path):
    (tmp_path / "mine.py").write_text(
        "def change(row):\n    row['thresholds'].clear()\n\ndef leave(row):\n    raise SystemExit(0)\n"
    )
    row = {"epoch": 1, "thresholds": {"relu1": 0.5}}
    log_to(f"{tmp_path / 'mine.py'}:change", tmp_path)(row)
    assert row == {"epoch": 1, "thresholds": {"relu1": 0.5}}
    with pytest.raises(UsageError, match="ended the program: SystemExit: 0"):
        log_to(f"{tmp_path / 'mine.py'}:leave", tmp_path)(row)
    (tmp_path / "ends.py").write_text("raise SystemExit(0)\n")
    with pytest.raises(UsageError, match=r"import of .*ends\.py ended the program: SystemExit: 0"):
        log_to(f"{tmp_path / 'ends.py'}:any", tmp_path)
