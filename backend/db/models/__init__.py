"""All tables, by the package that they belong to.

Importing this package makes ``Base.metadata`` complete.
"""

from backend.db.models import core, jobs, learning, registry, reports

__all__ = ["core", "jobs", "learning", "registry", "reports"]
