"""What was clicked and typed, remembered in the database alone.

``receive`` decides in one short transaction what a request belongs to and writes it down before the
model runs; ``record`` adds the mask and how it went. So nothing is lost with a process, every
process sees the same, and two requests for one task are decided one after the other.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, Table, bindparam, select, update

from backend.db.engine import Database
from backend.db.models.core import TargetRow
from backend.db.packed_mask import PackedMask
from backend.interaction import events, manual_edits, mask_history, retention
from backend.interaction.decision import Counts, Outcome, TargetView, Touches, Turn
from backend.interaction.draft_sync import Sightings
from backend.interaction.events import Event
from backend.interaction.object_view import Viewer
from backend.interaction.objects import Target
from backend.interaction.policy import Policy
from backend.interaction.request import ClickPrompt, Interaction, Saved, saved_annotation
from backend.interaction.rules import Assignment
from backend.interaction.task_state import ALL, NEWEST, TaskMemory
from backend.label_studio.annotations import Annotation
from backend.label_studio.config import ImageControls, LabelConfig
from backend.label_studio.payloads import Project
from backend.reports import served_masks

# A decision is made anew with each fact it lacked. Two are the most that one request can lack, so
# more attempts mean that other requests keep changing the same task in between.
_ATTEMPTS = 6
# Until a draft tells who asks, a phrase is carried to the next task only from so far back.
_CARRIED_FROM = timedelta(hours=1)

_targets: Table = TargetRow.__table__  # type: ignore[assignment]
_ANSWERED = update(_targets).where(
    _targets.c.id == bindparam("of_id"), _targets.c.answered_turn < bindparam("of_turn")
)


@dataclass
class _Facts:
    """What had to be found out without the lock."""

    touches: dict[tuple[int, int, str], bool] = field(default_factory=dict)
    shown: dict[tuple[str, str], mask_history.Shown] = field(default_factory=dict)
    last_attempt: bool = False  # decide with what is known


class _Unknown(Exception):  # noqa: N818 - not an error: a question the transaction cannot answer
    """Leaves the transaction; ``find_out`` then runs without any lock."""

    def __init__(self, find_out: Callable[[_Facts], None]) -> None:
        super().__init__()
        self.find_out = find_out


class InteractionMemory:
    """See the module. Threads may share it; processes share the database."""

    def __init__(
        self,
        database: Database,
        policy: Policy,
        knows: Callable[[str, str], bool] = lambda name, version: False,
    ) -> None:
        """``knows`` says whether a model version's reader knows the words of a label's name."""
        self.database = database
        self.policy = policy
        self.viewer = Viewer(policy.label_as_phrase, knows)

    def receive(
        self, interaction: Interaction, *, touches: Touches | None = None, champion: str = ""
    ) -> Turn:
        """Decide what a request belongs to, and write it down.

        touches: may run the model. champion: the model version that a new object begins with.
        """
        facts = _Facts()
        for _ in range(_ATTEMPTS):
            try:
                return self._receive(interaction, facts, touches, champion)
            except _Unknown as question:
                question.find_out(facts)
        facts.last_attempt = True
        return self._receive(interaction, facts, touches, champion)

    def record(self, turn: Turn, outcome: Outcome, now: datetime | None = None) -> None:
        """Keep the answer's mask and complete the log, in one transaction; failures too."""
        now = now or datetime.now(UTC)
        packed = None if outcome.mask is None else PackedMask.pack(outcome.mask)
        answered = events.Answered(
            at=now,
            milliseconds=outcome.milliseconds,
            steps=outcome.steps,
            model_version=outcome.model_version,
            confidence=outcome.confidence,
            changed=_changed(turn.shown_mask, packed),
            error=outcome.error,
            width=packed.width if packed else outcome.width,
            height=packed.height if packed else outcome.height,
        )
        digest = mask_history.digest(outcome.rle)
        # An empty mask is not shown: the page keeps the one before, and so does the memory.
        kept = packed if outcome.mask is not None and outcome.mask.any() else None
        if not turn.counts.new and (turn.target is None or kept is None):
            return
        with self.database.write() as connection:
            if turn.target is not None and kept is not None:
                self._keep(connection, turn, turn.target, kept, digest, outcome, now)
            if turn.counts.new:
                events.complete(connection, turn.request_id, answered)

    def settle(
        self,
        project: Project,
        task_id: int,
        annotation: Annotation,
        config: LabelConfig,
        now: datetime | None = None,
    ) -> None:
        """Believe an annotation that was created or updated."""
        saved = saved_annotation(annotation, config)
        if saved is None:
            return
        now = now or datetime.now(UTC)
        with self.database.write() as connection:
            task = TaskMemory.lock(connection, project, task_id, now, create=False, newest=ALL)
            if task is not None:
                seen = self._believe(task, [saved], "", now)
                self._write(connection, task, seen.events, "", now, turn=False)

    def deleted(
        self, project: Project, annotation_ids: Sequence[int], now: datetime | None = None
    ) -> None:
        """Annotations were deleted, and the masks in them with them."""
        keys = [f"annotation:{number}" for number in annotation_ids]
        now = now or datetime.now(UTC)
        here = (_targets.c.project == project.key) & _targets.c.saved.in_(keys)
        here &= _targets.c.state != "gone"
        with self.database.write() as connection:
            for row in connection.execute(select(_targets).where(here)).mappings().all():
                event = Event("delete", row["id"], row["region_id"], label=row["label"])
                logged = [(event, row["owner"])]
                events.append(connection, project, row["task_id"], logged, now)
            connection.execute(update(_targets).where(here).values(state="gone"))

    def forget(self, now: datetime | None = None) -> int:
        """Drop targets nobody has worked on for long; gives their number. To be called hourly."""
        with self.database.write() as connection:
            return retention.forget(connection, self.policy, now or datetime.now(UTC))

    # -- inside

    def _receive(
        self, ask: Interaction, facts: _Facts, touches: Touches | None, champion: str
    ) -> Turn:
        request_id = secrets.token_hex(16)
        nothing = Turn(
            request_id, "nothing", ask.project, ask.task_id, ask.image, notes=ask.ignored
        )
        image = None if ask.empty else ask.image
        if image is None and not ask.saved:
            return nothing
        now = ask.received_at
        with self.database.write() as connection:
            click = image is not None
            newest = NEWEST if click else ALL
            task = TaskMemory.lock(
                connection, ask.project, ask.task_id, now, create=click, newest=newest
            )
            if task is None:
                return nothing
            seen = self._believe(task, ask.saved, ask.user, now)
            if image is None:
                self._write(connection, task, seen.events, ask.user, now, turn=False)
                return replace(nothing, user=ask.user)
            assigned = self._assign(
                connection, ask, image, seen, facts, touches, request_id, champion
            )
            task.save(connection, now, turn=False)  # a new target needs its number from here on
            undone = self._page_mask(connection, assigned, facts)
            logged = [*seen.events, *undone, *assigned.events]
            task.revision += 1
            self._write(connection, task, logged, ask.user, now, turn=True)
            if assigned.started:
                retention.thin_out(connection, task)
            new = tuple(event.kind for event in assigned.events if event.request_id)
            notes = (*assigned.notes, *ask.ignored)
            target = assigned.target
            if target is None:
                return replace(nothing, notes=notes, user=ask.user, counts=Counts(kinds=new))
            view, shown = self.viewer.view(connection, target, image)
        positives = sum(click.positive for click in view.clicks)
        return Turn(
            request_id=request_id,
            action="predict",
            project=ask.project,
            task_id=ask.task_id,
            image=image,
            target=view,
            started=assigned.started,
            counts=Counts(positives, len(view.clicks) - positives, new),
            notes=notes,
            user=ask.user or target.owner,
            number=target.turn,
            shown_mask=shown,
        )

    def _believe(
        self, task: TaskMemory, saved: Sequence[Saved], user: str, now: datetime
    ) -> Sightings:
        seen = Sightings(task, saved, user, self.policy.draft_margin, now)
        seen.believe()
        return seen

    def _assign(
        self,
        connection: Connection,
        ask: Interaction,
        image: ImageControls,
        seen: Sightings,
        facts: _Facts,
        touches: Touches | None,
        request_id: str,
        champion: str,
    ) -> Assignment:
        def touch(click: ClickPrompt, target: Target) -> bool:
            if touches is None or not target.answered_turn:
                return False
            key = (target.id, target.answered_turn, click.id)
            if key not in facts.touches and not facts.last_attempt:
                model = touches
                raise _Unknown(lambda facts: self._ask(facts, key, model, click, target, image))
            return facts.touches.get(key, False)

        unknown = [c.id for c in ask.clicks if seen.task.with_click(c.id, ask.user) is None]
        assignment = Assignment(
            ask=ask,
            image=image,
            task=seen.task,
            sightings=seen,
            policy=self.policy,
            request_id=request_id,
            logged=events.logged_clicks(connection, ask.project, ask.task_id, unknown, ask.user),
            touch=touch,
            carried=self._carried(connection, ask) if self.policy.carry_phrase == "task" else "",
            champion=champion,
        )
        assignment.decide()
        return assignment

    def _ask(
        self,
        facts: _Facts,
        key: tuple[int, int, str],
        model: Callable[[ClickPrompt, TargetView], bool],
        click: ClickPrompt,
        target: Target,
        image: ImageControls,
    ) -> None:
        """Let the model say whether a click's own mask touches the target's."""
        with self.database.read() as connection:
            shown = mask_history.mask(connection, target.id, target.answered_turn)
        facts.touches[key] = model(click, self.viewer.look(target, image, shown))

    def _page_mask(
        self, connection: Connection, assigned: Assignment, facts: _Facts
    ) -> list[Event]:
        """What the page shows of the target, where it is another mask than the last answer."""
        asked = manual_edits.question(connection, assigned)
        if asked is None:
            return []
        if facts.last_attempt and asked.key not in facts.shown:
            return []
        if asked.key not in facts.shown:
            raise _Unknown(lambda facts: facts.shown.update({asked.key: asked.look(self.database)}))
        return manual_edits.believe(connection, assigned, asked, facts.shown[asked.key])

    def _carried(self, connection: Connection, ask: Interaction) -> str:
        """By setting, the phrase typed last in the project by the same annotator. Before a first
        draft tells who asks, only while no more than one is at work."""
        here = _targets.c.project == ask.project.key
        query = select(_targets.c.phrase).where(here, _targets.c.phrase != "")
        if ask.user:
            query = query.where(_targets.c.owner == ask.user)
        else:
            here &= _targets.c.updated_at > ask.received_at - _CARRIED_FROM
            owners = select(_targets.c.owner).where(here, _targets.c.owner != "").distinct()
            if len(connection.execute(owners.limit(2)).all()) > 1:
                return ""
            query = query.where(here)
        latest = query.order_by(_targets.c.updated_at.desc()).limit(1)
        return connection.execute(latest).scalar() or ""

    @staticmethod
    def _write(
        connection: Connection,
        task: TaskMemory,
        logged: Sequence[Event],
        user: str,
        now: datetime,
        *,
        turn: bool,
    ) -> None:
        """Targets first: only then has a new one the number that the log refers to."""
        task.save(connection, now, turn=turn)
        by_region = {target.region_id: target for target in reversed(task.targets)}
        rows = []
        for event in logged:
            target = by_region.get(event.region_id)
            if target is not None and not event.target_id:
                event = replace(event, target_id=target.id)
            rows.append((event, user or (target.owner if target else "")))
        events.append(connection, task.project, task.task_id, rows, now)

    def _keep(
        self,
        connection: Connection,
        turn: Turn,
        target: TargetView,
        packed: PackedMask,
        digest: str,
        outcome: Outcome,
        now: datetime,
    ) -> None:
        """Keep a mask as served; and for the next one, unless a later turn was answered first."""
        this = (target.id, target.region_id, turn.number)
        served_masks.keep(
            connection, turn.project, turn.task_id, this, turn.request_id, packed, now
        )
        found = connection.execute(
            _ANSWERED,
            {
                "of_id": target.id,
                "of_turn": turn.number,
                "answered_turn": turn.number,
                "answered_at": now,
                # Another one than it began with, where that could not be had any more.
                "model_version": outcome.model_version or target.model_version,
            },
        )
        if not found.rowcount:
            return
        mask_history.store(
            connection,
            target.id,
            turn.number,
            packed,
            clicks=sorted([click.id, click.positive] for click in target.clicks),
            phrase=(target.phrase or "") if target.phrase_source == "typed" else "",
            at=now,
            rle_digest=digest,
            keep=self.policy.answers_kept,
        )


def _changed(before: PackedMask | None, after: PackedMask | None) -> float | None:
    """1 - IoU with the mask the page showed; 1 for the first one; None where there is none."""
    if after is None:
        return None
    return 1.0 if before is None else 1.0 - before.iou(after)
