"""Flags of modules and parameters that are cleared for a while, such as the training mode, in any number of threads."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from threading import RLock
from typing import Any

from torch import nn


@dataclass
class _Cleared:
    part: Any
    value: bool
    contexts: int = 0


_CLEARED: dict[int, _Cleared] = {}
"""id -> a module or parameter inside contexts of `cleared`, its flag before the first, and how many there are."""
_CLEARING = RLock()


@contextmanager
def cleared(flag: str, parts: Iterable[Any], switch: Callable[[bool], object] = bool) -> Iterator[None]:
    """Clear a flag of modules or parameters; it returns when the last context that holds the part ends, in any thread.

    Args:
        switch: also called, with False and, where no part is held elsewhere, with the flag of the first part.
    """
    parts = list(parts)
    with _CLEARING:
        for part in parts:
            _CLEARED.setdefault(id(part), _Cleared(part, getattr(part, flag))).contexts += 1
    try:
        with _CLEARING:
            switch(False)
            for part in parts:
                setattr(part, flag, False)
        yield
    finally:
        with _CLEARING:
            for part in parts:
                _CLEARED[id(part)].contexts -= 1
            released = [_CLEARED.pop(id(part)) for part in parts if not _CLEARED[id(part)].contexts]
            if parts and len(released) == len(parts):
                switch(released[0].value)
            for one in released:
                setattr(one.part, flag, one.value)


def evaluating(network: nn.Module) -> AbstractContextManager[None]:
    """Put a network into eval mode; afterwards every module has the mode that it had."""
    return cleared("training", network.modules(), network.train)  # for a module that does more than to note the mode
