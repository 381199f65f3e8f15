"""What the registry tells: a version, a promotion, and who is champion where."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from backend.label_studio.payloads import Project

# base: came with the product or the settings, not in the store. candidate: not judged yet.
# accepted, rejected: by the gate. pruned: the files are gone, the row stays.
State = Literal["base", "candidate", "accepted", "rejected", "pruned"]

# Where a version's name is asked for, '' is the checkpoint that the settings name.
BASE = ""
# Where a project is asked for, '' is all of them that have no champion of their own.
EVERYONE = ""
# An object finishes on the model version that it began with. One taken up again after a night, or
# after it was submitted, is a new piece of work and meets the champion.
GOES_ON_FOR = timedelta(hours=12)


@dataclass(frozen=True)
class Version:
    """A model version. ``project`` is EVERYONE for one that is no project's own."""

    name: str
    project: str
    parent: str
    state: State
    location: str
    sums: Mapping[str, str]
    size_bytes: int
    data: Mapping[str, Any]
    metrics: Mapping[str, Any]
    gate: Mapping[str, Any] | None
    created_at: datetime
    created_by: str

    @property
    def in_store(self) -> bool:
        """Whether its files are the registry's to keep and to delete."""
        return self.state not in ("base", "pruned")


@dataclass(frozen=True)
class Promotion:
    """One row of the log: ``version`` took the place of ``before``."""

    id: int
    project: str
    kind: Literal["promotion", "rollback"]
    version: str
    before: str
    who: str
    why: str
    at: datetime


@dataclass(frozen=True)
class Champion:
    """What serves a project: ``line`` are the promotions that stand, the newest last."""

    promotion: int
    line: tuple[str, ...]

    @property
    def version(self) -> str:
        """The one that serves."""
        return self.line[-1] if self.line else BASE

    @property
    def before(self) -> str:
        """What a rollback leads to."""
        return self.line[-2] if len(self.line) > 1 else BASE


@dataclass(frozen=True)
class Champions:
    """All champions at one moment; ``last`` is the newest promotion that they rest on."""

    last: int = 0
    by_project: Mapping[str, Champion] = field(default_factory=dict)

    @classmethod
    def after(cls, promotions: Iterable[Promotion]) -> "Champions":
        """What stands after all of these, oldest first."""
        found: dict[str, Champion] = {}
        last = 0
        for it in promotions:
            line = found[it.project].line if it.project in found else ()
            if it.kind == "promotion":
                line = (*line, it.version)
            else:
                # Back beyond versions that were pruned meanwhile, maybe to the very base.
                while line and (line := line[:-1]) and line[-1] != it.version:
                    pass
            found[it.project] = Champion(it.id, line)
            last = it.id
        return cls(last, found)

    def owner(self, project: Project) -> str:
        """Whose champion serves the project: its own key, or EVERYONE."""
        if not project.created:
            # A script that knows the number alone means the project promoted last under it.
            found = [
                (champion.promotion, key)
                for key, champion in self.by_project.items()
                if key and project.may_be(key)
            ]
            key = max(found)[1] if found else EVERYONE
        else:
            key = project.key
        return key if self.of_owner(key) != BASE else EVERYONE

    def of(self, project: Project) -> str:
        """The version that serves the project; BASE for the checkpoint of the settings."""
        return self.of_owner(self.owner(project))

    def of_owner(self, owner: str) -> str:
        """The version that this key itself was given."""
        champion = self.by_project.get(owner)
        return champion.version if champion else BASE

    def names(self) -> list[str]:
        """Versions that serve, those promoted last first; then those a rollback would lead to."""
        newest = sorted(self.by_project.values(), key=lambda it: -it.promotion)
        names = [it.version for it in newest] + [it.before for it in newest]
        return [name for name in dict.fromkeys(names) if name != BASE]
