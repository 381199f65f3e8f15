"""What a reader leaves out while it opens a data set: counted, and named in the log."""

from __future__ import annotations

import logging

log = logging.getLogger(__name__)

# A set with a folder missing has thousands of gaps: the first ones say what is wrong.
NAMED = 20


class Skipping:
    """Counts what is left out of one data set."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.count = 0

    def add(self, reason: object) -> None:
        """Leave one thing out: ``reason`` is a sentence that names it."""
        self.count += 1
        if self.count <= NAMED:
            log.warning("%s: left out: %s", self.name, reason)

    def finish(self) -> int:
        """How many were left out; the log says so where not all of them were named."""
        if self.count > NAMED:
            log.warning("%s: left out %d in all.", self.name, self.count)
        return self.count
