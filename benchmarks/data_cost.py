"""Section `data`: the cost of shuffling, augmenting and scaling a batch, compared with the training step."""

from collections import deque

import plug
import torch
from figures import Section, over, spread
from networks import TINY, Size
from turns import in_turns

from hiresnn.data import Batches, Split

EPOCH = "a batch of data"


def measure_data(quick: bool) -> Section:
    """Measure an epoch of batches and one step of each kind in turns."""
    wide, narrow = (TINY, TINY) if quick else (Size(hidden=4096), Size(hidden=256, width=0.5))
    count, rounds, warmup = (64, 1, 1) if quick else (2000, 9, 3)
    section = Section(
        "Data",
        f"An epoch of `hiresnn.data.Batches` (shuffled, flipped and cropped, scaled to [0, 1]) over {count:,} uint8 "
        f"images of 3x32x32 in batches of {wide.batch}, per batch, compared with the training step at T = "
        f"{wide.timesteps} at the paper's size (hidden {wide.hidden}, float32) and at that of the narrow cpu recipe "
        f"(width {narrow.width:g}, hidden {narrow.hidden}, bfloat16).",
        {"images": count, "step": vars(wide), "narrow step": vars(narrow), "rounds": rounds, "warmup": warmup},
    )
    draws = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=draws)
    split = Split(images, torch.randint(0, 10, (count,), generator=draws))
    batches = Batches(split, wide.batch, shuffle=True, augment=True, generator=draws)
    torch.manual_seed(0)
    steps = {
        "the paper's step, float32": plug.step(wide.batch, wide.timesteps, wide.hidden, width=wide.width),
        "the narrow step, bfloat16": plug.step(
            narrow.batch, narrow.timesteps, narrow.hidden, width=narrow.width, bfloat16=True
        ),
    }
    epoch = {EPOCH: lambda: deque(batches, maxlen=0)}
    for name, seconds in in_turns({**epoch, **steps}, rounds=rounds, warmup=warmup).items():
        section.add(name, {"ms": spread(seconds, 1e3 / len(batches) if name == EPOCH else 1e3)})
    for name in steps:
        share = over(section.median(EPOCH, "ms"), section.median(name, "ms"))
        section.at_most(f"time of data over {name}", None if share is None else 100 * share, 2, " %")
    return section
