"""The path from `hiresnn train` to Eq. 1 is short enough to be read in a traceback."""

import traceback
from pathlib import Path

import pytest

import hiresnn
from hiresnn.cli import main
from hiresnn.neurons import lif

PACKAGE = Path(hiresnn.__file__).parent
MOST = 12
"""Frames of the package from the function of the command to the equation, both counted."""


def test_the_path_from_the_command_to_eq_1_is_short(tmp_path, monkeypatch):
    frames: list[traceback.FrameSummary] = []
    real = lif.fires

    def traced(*arguments, **options):
        stack = traceback.extract_stack()[:-1]  # called by the equation
        if not frames and any(frame.name == "train_batch" for frame in stack):
            frames.extend(frame for frame in stack if Path(frame.filename).is_relative_to(PACKAGE))
        return real(*arguments, **options)

    monkeypatch.setattr(lif, "fires", traced)
    small = ["data.train_images=40", "ann.epochs=0", "snn.epochs=1", "model.width=0.05", "model.hidden=8"]
    words = [word for each in [*small, "compile=never"] for word in ("--set", each)]
    with pytest.raises(SystemExit):
        main(["train", "digits", "--method", "traditional", "--out", str(tmp_path / "run"), "--quiet", *words])
    names = [f"{Path(frame.filename).stem}.{frame.name}" for frame in frames]
    command = names.index("shell.main") + 1
    path = names[command:]
    assert path[-1] == "lif.lif_steps"
    assert path[:5] == ["train.train", "train.train", "train._train_snn", "train._fit", "trainer.fit"]
    assert len(path) <= MOST, path
