"""What waits and runs at this moment, as the database has it: for the graphs of an admin."""

from sqlalchemy import case, func, select

from backend.db.engine import Database
from backend.db.models import Delivery, ProjectRow
from backend.db.models.jobs import ENDS, REPLAY, SCORING, TRAINING
from backend.jobs.presence import processes
from backend.jobs.queue import Jobs
from backend.label_studio.payloads import Project
from backend.metrics import Gauges
from backend.registry import champions as promotion_log
from backend.registry.champions import Champions
from backend.samples.counts import gauges
from backend.worker.webhook_inbox import ATTEMPTS

# Told even where there is none: a graph without a line says nothing.
_KINDS = (TRAINING, SCORING, REPLAY)
_STATES = ("queued", "running", *ENDS)
_PROCESSES = ("server", "worker", "training", "scheduler")


def read_gauges(database: Database, *, base: str = "") -> Gauges:
    """Some sums over indexed rows; whoever asks bounds how often.

    base: the name of what serves a project without a champion.
    """
    jobs = dict.fromkeys(((kind, state) for kind in _KINDS for state in _STATES), 0)
    living = dict.fromkeys(_PROCESSES, 0)
    for process in processes(database):
        living[process.kind] = living.get(process.kind, 0) + process.is_running()
    given_up = case((Delivery.attempts >= ATTEMPTS, "given up"), else_="waiting")
    with database.read() as connection:
        found = connection.execute(
            select(given_up, func.count()).where(Delivery.processed_at.is_(None)).group_by(given_up)
        )
        deliveries = {"waiting": 0, "given up": 0}
        for state, number in found:
            deliveries[state] = number
        champions = Champions.after(promotion_log.history(connection))
        projects = connection.execute(select(ProjectRow.key)).scalars().all()
    return Gauges(
        labels=gauges(database),
        deliveries=deliveries,
        jobs=jobs | Jobs(database).counts(),
        processes=living,
        champions={key: champions.of(Project.read(key)) or base for key in projects},
    )
