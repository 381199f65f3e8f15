"""A check by connect or doctor: answered like a click, but neither remembered nor counted."""

from dataclasses import replace

from backend.interaction.decision import Counts, RememberedClick, TargetView, Turn
from backend.interaction.request import Interaction
from backend.label_studio.config import BrushControl, ImageControls, Label

_REGION = "phraseclick-probe"


def probe_turn(interaction: Interaction) -> Turn:
    """What the memory would make of a first click or phrase, without the memory."""
    image = interaction.image
    nothing = Turn(
        request_id="",
        action="nothing",
        project=interaction.project,
        task_id=interaction.task_id,
        image=image,
        notes=interaction.ignored,
    )
    if image is None or interaction.empty:
        return nothing
    brush, label = _label(interaction, image)
    clicks = tuple(
        RememberedClick(
            it.id, it.x_percent, it.y_percent, it.positive is not False, it.label, it.from_name
        )
        for it in interaction.clicks
    )
    typed = interaction.phrase.text if interaction.phrase else None
    target = TargetView(
        id=0,
        region_id=_REGION,
        label=label,
        brush=brush,
        image=image,
        clicks=clicks,
        phrase=typed,
        phrase_source="typed" if typed else "none",
    )
    positives = sum(click.positive for click in clicks)
    counts = Counts(positives=positives, negatives=len(clicks) - positives)
    return replace(nothing, action="predict", target=target, counts=counts)


def _label(interaction: Interaction, image: ImageControls) -> tuple[BrushControl, Label | None]:
    for click in interaction.clicks:
        control = image.click(click.from_name)
        clicked = control.label(click.label) if control else None
        brush = image.brush(clicked.brush) if clicked else None
        if clicked is not None and brush is not None:
            return brush, clicked.brush_label
    return image.labels[0] if image.labels else (image.brushes[0], None)
