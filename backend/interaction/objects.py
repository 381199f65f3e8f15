"""A target while a decision is made: a row of the database, read, changed and written back."""

from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, Literal, cast

from sqlalchemy import RowMapping

from backend.interaction.decision import RememberedClick
from backend.interaction.request import Saved

# open: answered at most, accepted nowhere yet. kept: a draft shows its mask. submitted: an
# annotation does. gone: its mask or its prompts were taken off the page.
State = Literal["open", "kept", "submitted", "gone"]


@dataclass(frozen=True)
class Click:
    """A click of a target, counted or not."""

    id: str
    x_percent: float
    y_percent: float
    positive: bool
    label: str
    from_name: str
    counts: bool = True  # False: it was undone
    on_page: bool = True  # its key point was there in the last request of its label

    @property
    def kind(self) -> tuple[str, str]:
        """The page sends all clicks of one kind together, and no others."""
        return self.from_name, self.label

    def remembered(self) -> RememberedClick:
        """As a turn hands it out."""
        return RememberedClick(
            self.id, self.x_percent, self.y_percent, self.positive, self.label, self.from_name
        )


@dataclass
class Target:
    """One row of ``targets``; ``id`` is 0 until it is written for the first time."""

    id: int
    owner: str
    region_id: str
    image: str
    brush: str
    label: str
    state: State
    sequence: int
    turn: int
    clicks: tuple[Click, ...]
    created_at: datetime
    updated_at: datetime
    answered_turn: int = 0
    answered_at: datetime | None = None
    phrase_id: str = ""
    phrase: str = ""
    phrase_sequence: int = 0
    phrase_saved: str = ""
    phrase_seen_at: datetime | None = None
    saved: str = ""
    saved_created_at: datetime | None = None
    seen_at: datetime | None = None
    accepted_at: datetime | None = None
    shown_digest: str = ""
    stays: bool = False
    model_version: str = ""  # the one that it finishes on

    @classmethod
    def of_row(cls, row: RowMapping) -> "Target":
        """From the database."""
        values = {name: row[name] for name in _COLUMNS}
        values["clicks"] = tuple(Click(*entry) for entry in row["clicks"])
        return cls(**values)

    def row(self) -> dict[str, Any]:
        """For the database, without the id."""
        values = dict(vars(self))
        del values["id"]
        values["clicks"] = [
            [c.id, c.x_percent, c.y_percent, c.positive, c.label, c.from_name, c.counts, c.on_page]
            for c in self.clicks
        ]
        return values

    @property
    def counting(self) -> tuple[Click, ...]:
        """The clicks that make it, oldest first."""
        return tuple(click for click in self.clicks if click.counts)

    @property
    def by_phrase_alone(self) -> bool:
        """Typed, never clicked."""
        return bool(self.phrase) and not self.clicks

    @property
    def accepted(self) -> bool:
        """A draft or an annotation has shown its mask."""
        return self.accepted_at is not None

    @property
    def fingerprint(self) -> list[list[Any]]:
        """The clicks behind an answer: ids and signs, in a fixed order."""
        return sorted([c.id, c.positive] for c in self.counting)

    def click(self, identity: str) -> Click | None:
        """The click of this id, counted or not."""
        return next((click for click in self.clicks if click.id == identity), None)

    def change(self, identity: str, **values: object) -> None:
        """Replace one click."""
        self.clicks = tuple(
            replace(click, **cast(Any, values)) if click.id == identity else click
            for click in self.clicks
        )

    def shown_in(self, saved: Saved) -> bool:
        """Whether a draft or annotation shows anything of it."""
        return (
            self.region_id in saved.regions
            or any(click.id in saved.clicks for click in self.clicks)
            or (bool(self.phrase_id) and self.phrase_id in saved.phrases)
        )


_COLUMNS = tuple(f.name for f in fields(Target))
