"""When the garbage collector of a process that lives long looks for garbage."""

from __future__ import annotations

import gc


def at_leisure() -> None:
    """What is there by now lives as long as we do. A name in use is a few dozen objects; at the default of 700 the
    collector would run all the time while names are bound. The middle number is small: what a new table makes is looked
    at in pieces of 50 ms and not of 200 ms."""
    gc.freeze()
    gc.set_threshold(20_000, 5, 80)
    gc.enable()
