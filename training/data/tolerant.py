"""What to do about a picture that breaks at hour three: name it once, count it, go on.

Opening a data set already leaves out what is visibly broken. The rest shows only when a picture is
decoded, in the middle of a run that must not end there.
"""

from __future__ import annotations

import logging

from training.data.sample import Dataset, Sample
from training.errors import DataError

log = logging.getLogger(__name__)


class Tolerant:
    """Samples of a data set, None for those that cannot be read.

    ``broken`` holds the index and the error of each. It is tried again whenever it is asked for: a
    network drive that was away comes back.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.broken: dict[int, str] = {}

    def get(self, index: int) -> Sample | None:
        """The sample, or None; the first time that one is broken, the log says which and why."""
        try:
            return self.dataset[index]
        except DataError as error:
            if index not in self.broken:
                log.warning("Passed over from now on: %s", error)
                self.broken[index] = str(error)
            return None
