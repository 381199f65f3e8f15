"""Model versions: their metrics, the gate's verdict, and which project each of them serves.

Promotion and rollback need a confirmation: a page says what will change, and its button does it,
unless another version was promoted in the meantime.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Form, Request, Response

from backend.db.models import Version
from backend.errors import VersionError
from backend.registry.champions import EVERYONE, Champions, served_by
from backend.reports.group_by import FEWEST_TASKS
from backend.reports.records import Interval
from backend.reports.tables import ErrorBar, error_bars
from backend.web.board import OWN_FORM, AskedKey, Board, Dashboard, router

pages = router()

_MEASURES = {
    "noc85": ("Interactions to 85\u00a0%", 2),
    "noc90": ("Interactions to 90\u00a0%", 2),
    "iou1": ("IoU after 1", 3),
    "iou2": ("IoU after 2", 3),
    "iou3": ("IoU after 3", 3),
    "iou1to3": ("IoU after 1 to 3", 3),
}
_MODES = {"clicks+phrase": "clicks", "phrase+clicks": "phrase, then clicks", "all": "both"}
# Figures shown of a version; a checkpoint's history can hold thousands.
_MOST_FIGURES = 120


@dataclass(frozen=True)
class MeasureRow:
    name: str
    mode: str
    digits: int
    comparison: Mapping[str, Any]  # a ``training.gate.rules.Comparison``
    difference: Interval
    error_bar: ErrorBar | None


@dataclass(frozen=True)
class SetResult:
    """One set of the gate, with its measures."""

    name: str
    about: str
    lines: Sequence[MeasureRow]


@dataclass(frozen=True)
class Suggested:
    """What a picture costs that starts from a candidate's suggestions, or from its champion's.

    figures: of ``training.gate.report``. examples: those of which the images are still stored.
    """

    version: str
    champion: str
    figures: Mapping[str, Any]
    examples: Sequence[Mapping[str, Any]]

    @property
    def sides(self) -> list[tuple[str, str, Interval, float]]:
        """Before and after: version, interactions per object, share of objects without any."""
        return [
            (name, version, self._interval(side["interactions"]), side["zero_share"]["mean"])
            for name, version, side in (
                ("Before", self.champion, self.figures["champion"]),
                ("After", self.version, self.figures["candidate"]),
            )
        ]

    @property
    def difference(self) -> Interval:
        """After minus before."""
        return self._interval(self.figures["difference"])

    def _interval(self, figures: Mapping[str, Any]) -> Interval:
        whole = Interval(**figures)
        few = self.figures["candidate"]["pictures"] < FEWEST_TASKS
        return Interval(whole.mean, None, None, whole.n) if few else whole


@pages.get("/versions")
def versions(request: Request, board: Board, key: AskedKey) -> Response:
    """All versions, or those available to a project; the log of promotions."""
    board.registry.base()
    champions, base = board.registry.champions(), board.registry.base_name
    # Each version, and the keys of the projects that it serves; EVERYONE: all without their own.
    entries = [(v, champions.owners(v.name, base)) for v in board.registry.all(key or None)]
    history = board.registry.history(key or None)[::-1]
    return board.render.page(
        request,
        "versions.html",
        section="Versions",
        key=key,
        entries=entries[::-1],
        history=history[:40],
        base=base,
        serves=board.registry.serves(key),
        back=_back(champions, key, board.registry.serves("")),
        figures=_headlines,
    )


@pages.get("/versions/compare")
def compare(request: Request, board: Board, one: str = "", other: str = "") -> Response:
    if not one or not other:
        raise VersionError("Choose two versions to compare.")
    left, right = board.registry.get(one), board.registry.get(other)
    mine, theirs = left.figures, right.figures
    both = [(name, mine[name], theirs[name]) for name in mine if name in theirs]
    return board.render.page(
        request,
        "compare.html",
        section="Versions",
        left=left,
        right=right,
        both=both[:_MOST_FIGURES],
        cut=len(both) > _MOST_FIGURES,
        gates=[(side, _parts(side.gate)) for side in (left, right) if side.gate],
        learned=dict.fromkeys([*left.data, *right.data]),
    )


@pages.get("/versions/{name}")
def version(request: Request, board: Board, name: str) -> Response:
    shown = board.registry.get(name)
    champions = board.registry.champions()
    gate = shown.gate or {}
    return board.render.page(
        request,
        "version.html",
        section="Versions",
        version=shown,
        serves=champions.owners(shown.name, board.registry.base_name),
        rival=rival if (rival := board.registry.serves(shown.project)) != shown.name else "",
        gate=gate,
        parts_of_gate=_parts(gate),
        suggested=suggested_of(board, shown.name, gate),
        base=board.registry.base_name,
        examples=_examples(gate, set(board.registry.gate_pictures(shown.name))),
        figures=list(shown.figures.items())[:_MOST_FIGURES],
        children=[other.name for other in board.registry.all() if other.parent == shown.name],
        projects=[(other.key, other.title) for other in board.reports.projects()],
    )


@pages.get("/versions/{name}/examples/{file}")
def example(board: Board, name: str, file: str) -> Response:
    content = board.registry.gate_pictures(name).get(file)
    if content is None:
        raise VersionError(f"Version {name} has no image {file!r}.")
    headers = {"Cache-Control": "private, max-age=3600", "X-Content-Type-Options": "nosniff"}
    return Response(content, media_type="image/jpeg", headers=headers)


@pages.get("/versions/{name}/promote")
def ask_to_promote(request: Request, board: Board, name: str, asked: AskedKey) -> Response:
    shown = board.registry.get(name)
    key = asked or shown.project
    champion = board.registry.serves(key)
    return board.render.page(
        request,
        "promote.html",
        section="Versions",
        version=shown,
        key=key,
        champion=champion,
        base=board.registry.base_name,
        already=champion == shown.name,
    )


@pages.post("/versions/{name}/promote", dependencies=[OWN_FORM])
def promote(
    request: Request,
    board: Board,
    name: str,
    project: Annotated[str, Form()] = "",
    instead_of: Annotated[str, Form()] = "",
    why: Annotated[str, Form()] = "",
    anyway: Annotated[str, Form()] = "",
) -> Response:
    chosen = board.registry.get(name)
    key = board.key(project) if project else EVERYONE
    request.state.back = back = f"/versions/{chosen.name}"
    done = board.registry.promote(
        chosen.name,
        key,
        who=board.render.who,
        why=_reason(why),
        instead_of=instead_of or None,
        anyway=bool(anyway),
    )
    board.service.promoted()
    base = board.registry.base_name
    said = f"{done.version or base} now serves {served_by(key)}, replacing "
    return board.render.redirect(request, back, f"{said}{done.before or base}.")


@pages.get("/rollback")
def ask_to_roll_back(request: Request, board: Board, key: AskedKey) -> Response:
    champions = board.registry.champions()
    return board.render.page(
        request,
        "rollback.html",
        section="Versions",
        key=key,
        champion=board.registry.serves(key),
        back=_back(champions, key, board.registry.serves("")),
        last=champions.by_project[key].promotion if key in champions.by_project else 0,
    )


@pages.post("/rollback", dependencies=[OWN_FORM])
def roll_back(
    request: Request,
    board: Board,
    project: Annotated[str, Form()] = "",
    last: Annotated[str, Form()] = "",
    why: Annotated[str, Form()] = "",
) -> Response:
    """Undo the last promotion."""
    key = board.key(project) if project else EVERYONE
    request.state.back = back = f"/versions?project={key}" if key else "/versions"
    current = board.registry.champions().by_project.get(key)
    if current is not None and last != str(current.promotion):
        raise VersionError(
            "Another promotion or rollback happened in the meantime. Check before you repeat."
        )
    done = board.registry.rollback(key, who=board.render.who, why=_reason(why))
    board.service.promoted()
    serves = done.version or board.registry.serves(key)
    said = f"{serves} serves {served_by(key)} again, replacing {done.before}."
    return board.render.redirect(request, back, said)


def _reason(why: str) -> str:
    return why.strip()[:1000] or "on the dashboard"


def _back(champions: Champions, key: str, everyone: str) -> str:
    """The version that a rollback restores; '' if there is no promotion to undo."""
    current = champions.by_project.get(key)
    if current is None or not current.line:
        return ""
    return current.before or everyone


def _headlines(of: Version) -> list[tuple[str, str]]:
    """Clicks to 85 % in the gate, by set."""
    return [
        (name, f"{comparison['candidate']:.2f}")
        for name, measured in _sets(of.gate)
        for comparison in measured.get("comparisons") or []
        if (comparison["mode"], comparison["measure"]) == ("clicks+phrase", "noc85")
    ]


def suggested_of(
    board: Dashboard, version: str, gate: Mapping[str, Any] | None
) -> Suggested | None:
    """What the gate measured of a version's suggestions, if it did."""
    figures = (gate or {}).get("suggestions")
    if not gate or not figures:
        return None
    kept = set(board.registry.gate_pictures(version))
    examples = [example for example in figures["examples"] if example["picture"] in kept]
    return Suggested(version, gate.get("champion", ""), figures, examples)


def _sets(gate: Mapping[str, Any] | None) -> list[tuple[str, Mapping[str, Any]]]:
    """What the gate measured on each set, as far as it exists."""
    sets = (gate or {}).get("sets")
    if not isinstance(sets, Mapping):
        return []
    return [(str(measured.get("called") or name), measured) for name, measured in sets.items()]


def _parts(gate: Mapping[str, Any] | None) -> list[SetResult]:
    """The gate's figures, as far as they exist."""
    parts = []
    for name, measured in _sets(gate):
        objects = measured.get("objects")
        about = f"{objects:,} objects" if isinstance(objects, int) else ""
        if isinstance(measured.get("pictures"), int):
            about += f" in {measured['pictures']:,} images"
        parts.append(SetResult(name, about, _lines(measured.get("comparisons") or [])))
    return parts


def _lines(comparisons: Sequence[Mapping[str, Any]]) -> list[MeasureRow]:
    """Differences of clicks share one scale, differences of IoU another."""
    lines = []
    for of_clicks in (True, False):
        alike = [c for c in comparisons if str(c["measure"]).startswith("noc") == of_clicks]
        differences = [Interval(c["difference"], c["low"], c["high"], c["n"]) for c in alike]
        bars = error_bars(differences, least=1e-6)
        for comparison, difference, bar in zip(alike, differences, bars, strict=True):
            measure, mode = str(comparison["measure"]), str(comparison["mode"])
            name, digits = _MEASURES.get(measure, (measure, 3))
            mode = _MODES.get(mode, mode)
            lines.append(MeasureRow(name, mode, digits, comparison, difference, bar))
    return lines


def _examples(gate: Mapping[str, Any], kept: set[str]) -> dict[str, list[Mapping[str, Any]]]:
    """Examples where the candidate won and where it lost, if their images still exist."""
    there = [example for example in gate.get("examples") or [] if example.get("picture") in kept]
    return {
        kind: [example for example in there if example.get("kind") == kind]
        for kind in ("won", "lost")
    }
