"""All tables as mapped classes, by subject. Import them from here.

Other packages pass classes such as ``Version`` and ``Job`` around as records, read with
``backend.db.engine.records``; those whose names end in ``Row`` appear in statements only.
``select(EventRow)`` on ``Database.read()`` and ``Database.write()`` gives rows with the columns as
attributes, and in a ``Database.session()`` objects.
"""

from backend.db.engine import Base
from backend.db.models.interaction import (
    INTERACTIONS,
    AnswerRow,
    EventKind,
    EventRow,
    ProjectRow,
    ServedMaskRow,
    TargetRow,
    TaskRow,
)
from backend.db.models.jobs import (
    Delivery,
    Job,
    LearnedLabel,
    LeaseRow,
    LogLine,
    Process,
    RecentError,
    Schedule,
    ScoreRow,
    lease_name,
    lock_job,
    lock_lease,
    lock_schedule,
)
from backend.db.models.labels import (
    AnnotatedPictureRow,
    AnnotatedTaskRow,
    AnnotationRow,
    AnnotationTimeRow,
    RegionCostRow,
    SampledProjectRow,
    SampleRow,
    exists_in_label_studio,
    lock_samples,
    same_annotation,
)
from backend.db.models.registry import (
    AnnouncementRow,
    GatePictureRow,
    Promotion,
    Version,
    VersionState,
)
