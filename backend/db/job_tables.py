"""Old names of ``backend.db.locks`` and tables, until every package has moved."""

from sqlalchemy import Table

from backend.db.locks import lease_name
from backend.db.locks import lock_job as locked_job
from backend.db.locks import lock_lease as lock
from backend.db.models import JobLogRow, JobRow, LearnedLabelRow, LearningRow, LeaseRow

__all__ = ["jobs", "learned", "lease_name", "leases", "lock", "locked_job", "log", "plans"]

jobs: Table = JobRow.__table__  # type: ignore[assignment]
log: Table = JobLogRow.__table__  # type: ignore[assignment]
leases: Table = LeaseRow.__table__  # type: ignore[assignment]
plans: Table = LearningRow.__table__  # type: ignore[assignment]
learned: Table = LearnedLabelRow.__table__  # type: ignore[assignment]
