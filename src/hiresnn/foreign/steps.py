"""What the layers of a network get and return, call by call, as steps [T, B, ...]."""

from typing import Any, Literal

from torch import Tensor

from hiresnn.errors import UsageError

Layout = Literal["steps", "sequence", "batch first", "any"]
"""How a layer gets its timesteps: [B, ...] per call, [T, B, ...], [B, T, ...], or as the shape tells. The first two
dimensions of the last three may be one, [T*B, ...] or [B*T, ...]."""


def picked(result: Any, output: int) -> Tensor:
    """Return the output of a network, or element `output` of a tuple such as (spikes, membrane)."""
    chosen = result[output] if isinstance(result, (tuple, list)) else result
    if not isinstance(chosen, Tensor):
        fix = "return logits from forward, or choose another element of a tuple with output= of the adapter"
        raise UsageError(f"the network returned {type(chosen).__name__}, not a tensor; {fix}.")
    return chosen


def in_steps(name: str, rows: Tensor, timesteps: int, batch: int, layout: Layout) -> Tensor:
    """View what a layer gets or returns in one call as [steps, B, ...]; steps is T, or 1 where a call is one step."""
    shape = tuple(rows.shape)
    one_step, flat = shape[:1] == (batch,), shape[:1] == (timesteps * batch,)
    sequence = shape[:2] == (timesteps, batch) and (timesteps > 1 or layout == "sequence")
    if layout == "batch first" and shape[:2] == (batch, timesteps):
        return rows.transpose(0, 1)
    if layout == "batch first" and flat:
        return rows.reshape(batch, timesteps, *shape[1:]).transpose(0, 1)
    if one_step and (layout == "steps" or not sequence):
        return rows[None]
    if sequence and (layout == "sequence" or not one_step):
        return rows
    if flat:
        return rows.reshape(timesteps, batch, *shape[1:])
    problem = (
        f"layer {name!r} has rows of shape {list(shape)}, which do not tell {batch} images and {timesteps} timesteps"
    )
    fix = "keep both in the first dimensions"
    if one_step:
        fix = "call the network once with another number of images, or give the adapter layout= (docs/foreign.md)"
    raise UsageError(f"{problem} apart; {fix}.")


def layout_of(shape: tuple[int, ...], timesteps: int, batch: int) -> Layout:
    """Return how a layer gets its timesteps, by the shape of a call with another number of images than timesteps."""
    if shape[:1] == (batch,) != (timesteps,):
        return "steps"
    if batch != timesteps and (shape[:2] == (timesteps, batch) or shape[:1] == (timesteps * batch,)):
        return "sequence"
    return "any"


def require_steps(name: str, steps: int, timesteps: int) -> None:
    """Raise UsageError unless a layer was called for T timesteps."""
    if steps != timesteps:
        raise UsageError(
            f"layer {name!r} is called for {steps} timesteps, but the adapter has timesteps={timesteps}; give the "
            "network's own number there, and call every layer once per timestep."
        )
