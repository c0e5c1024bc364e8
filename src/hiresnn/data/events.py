"""Events as data: grids of time bins, from raw events or from grids of more bins."""

from __future__ import annotations

from torch import Tensor

from hiresnn.errors import UsageError


def rebin(grids: Tensor, bins: int, *, binary: bool) -> Tensor:
    """Merge adjacent bins of event grids [N, T, P, H, W] so that `bins` are left, a divisor of T.

    Counts are added. In the type of the grids: uint8 counts that exceed 255 become 255. With `binary`, a cell is 1 if
    there was any event in the bins that it comes from.

    Raises:
        UsageError: the grids have no five dimensions, or `bins` does not divide T.
    """
    if grids.dim() != 5 or not 1 <= bins <= grids.shape[1] or grids.shape[1] % bins:
        raise UsageError(
            f"event grids {list(grids.shape)} cannot be merged into {bins} bins; grids are [N, T, P, H, W], and "
            "the number of bins is a divisor of T."
        )
    if bins == grids.shape[1]:
        return grids
    parts: Tensor = grids.unflatten(1, (bins, -1))  # type: ignore[no-untyped-call]
    if binary:
        return parts.amax(2)
    total = parts.sum(2)
    return total.to(grids.dtype) if grids.is_floating_point() else total.clamp(max=255).to(grids.dtype)
