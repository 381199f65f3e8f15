"""How learning stands in each project: what is new, what starts a training, what ran last."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select

from backend.db.engine import Database
from backend.db.models.jobs import TRAINING, Job, Schedule
from backend.jobs import new_labels
from backend.jobs.new_labels import NewLabels
from backend.jobs.queue import job_of
from backend.jobs.schedules import Schedules
from backend.settings import Settings


@dataclass(frozen=True)
class Standing:
    """One project. ``after``: so many new labels start a training; None: none do."""

    plan: Schedule
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
    plans = {it.project: it for it in Schedules(database).all()}
    newest = select(Job.project, func.max(Job.id).label("id")).group_by(Job.project)
    any_kind = newest.subquery()
    trained = newest.where(Job.kind == TRAINING).subquery()
    with database.read() as connection:
        new = new_labels.count(connection)
        last, training = (
            {
                row.project: job_of(row)
                for row in connection.execute(select(Job).where(Job.id.in_(select(each.c.id))))
            }
            for each in (any_kind, trained)
        )
    found = {}
    for key in projects:
        plan = plans.get(key, Schedule(project=key))
        starts = settings.learn and not plan.paused
        found[key] = Standing(
            plan,
            new.get(key, NewLabels()),
            (plan.after_labels or settings.learn_after_labels) if starts else None,
            training.get(key),
            last.get(key),
        )
    return found
