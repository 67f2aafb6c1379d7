"""What every kind of function does around each call of its handler."""

from __future__ import annotations

import random
import sys

_is_seeded = False


def begin() -> None:
    """The generator of `random` is as it was when the component was built, in every instance: seeds it anew."""
    global _is_seeded
    if not _is_seeded:
        random.seed()
        _is_seeded = True


def end() -> None:
    """What was printed belongs to this execution; the instance may serve another one."""
    sys.stdout.flush()
    sys.stderr.flush()
