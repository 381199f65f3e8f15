"""How learning stands in each project: what is new, what starts a training, what ran last."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select

from backend.database import Database
from backend.jobs import labels, rows
from backend.jobs.labels import NewLabels
from backend.jobs.plans import Plans
from backend.jobs.records import TRAINING, Job, Plan
from backend.jobs.store import job_of
from backend.settings import Settings


@dataclass(frozen=True)
class Standing:
    """One project. ``after``: so many new labels start a training; None: none do."""

    plan: Plan
    labels: NewLabels
    after: int | None
    training: Job | None  # the newest
    job: Job | None  # the newest of any kind

    @property
    def missing(self) -> int | None:
        """New labels until the next training; None where labels start none."""
        return None if self.after is None else max(0, self.after - self.labels.untried)

    @property
    def active(self) -> Job | None:
        """Its training that waits or runs."""
        return None if self.training is None or self.training.ended else self.training


def standings(
    database: Database, settings: Settings, projects: Sequence[str]
) -> dict[str, Standing]:
    """Of these projects, by their keys."""
    plans = {it.project: it for it in Plans(database).all()}
    newest = select(rows.jobs.c.project, func.max(rows.jobs.c.id).label("id"))
    any_kind = newest.group_by(rows.jobs.c.project).subquery()
    trained = newest.where(rows.jobs.c.kind == TRAINING).group_by(rows.jobs.c.project).subquery()
    with database.read() as connection:
        new = labels.count(connection)
        last, training = (
            {
                row.project: job_of(row)
                for row in connection.execute(
                    select(rows.jobs).where(rows.jobs.c.id.in_(select(each.c.id)))
                )
            }
            for each in (any_kind, trained)
        )
    found = {}
    for key in projects:
        plan = plans.get(key, Plan(key))
        starts = settings.learn and not plan.paused
        found[key] = Standing(
            plan,
            new.get(key, NewLabels()),
            (plan.after_labels or settings.learn_after_labels) if starts else None,
            training.get(key),
            last.get(key),
        )
    return found
