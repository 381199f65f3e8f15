"""Progress of a job that is only recorded."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class RecordedProgress:
    """What a job reported. ``check`` is called where the job asks whether to stop."""

    check: Callable[[], None] = lambda: None
    phases: list[str] = field(default_factory=list)
    done: list[float] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    def phase(self, name: str, share: float) -> None:
        assert 0 < share <= 1
        self.phases.append(name)

    def at(self, progress: float, message: str = "") -> None:
        assert 0 <= progress <= 1
        self.done.append(progress)
        self.messages.append(message)

    def line(self, text: str, level: str = "info") -> None:
        self.lines.append(text)

    def point(self, figures: Any) -> None:
        pass

    def fenced(self, connection: Any) -> None:
        pass
