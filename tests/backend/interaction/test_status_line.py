"""The sentence an annotator reads: right numbers, right words, and short enough for its banner."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.errors import PictureFetchError
from backend.interaction import answer
from backend.interaction.answer import MAX_CHARACTERS, Drawn, failed, noted, said_of_several
from backend.interaction.objects import Click
from backend.interaction.request import Prompts, Turn
from backend.label_studio.config import parse_config
from backend.label_studio.controls import BrushControl, Label
from backend.label_studio.regions import DrawnMask
from model.predictor import Instances
from model.tokens import NearWord, Tokens

CONFIG = """<View><Image name="image" value="$image"/>
  <BrushLabels name="brush" toName="image"><Label value="Cat"/></BrushLabels>
  <KeyPointLabels name="kp" toName="image">
    <Label value="Cat"/><Label value="+ last object" hotkey="a"/>
  </KeyPointLabels></View>"""
WITH_CLICKS, WITHOUT = (
    parse_config(xml).images[0] for xml in (CONFIG, CONFIG.replace("KeyPointLabels", "Choices"))
)
BITMASK = BrushControl("brush", (), tool="bitmask")
REMOVE = "✓ to keep it, Alt-click to remove a part (Ctrl+Alt once accepted), A to add to it"


def prompts(clicks: str = "+", phrase: str = "", *, box: bool = False, **more: Any) -> Prompts:
    """An object of clicks with these signs."""
    came = [Click(f"k{at}", 10, 10, sign == "+", "", "kp") for at, sign in enumerate(clicks)]
    if box:
        came.append(Click("b", 10, 10, True, "", "box", x2_percent=50, y2_percent=50))
    more = {"label": Label("Cat"), "brush": WITH_CLICKS.brushes[0], "image": WITH_CLICKS, **more}
    source = "typed" if phrase else "none"
    return Prompts(1, "pc-1", clicks=tuple(came), phrase=phrase, phrase_source=source, **more)  # type: ignore[arg-type]


def understood(
    target: Prompts,
    confidence: float = 0.91,
    *,
    found: bool = True,
    known: bool = True,
    unsure: bool = False,
    holes: int = 0,
    turn: dict[str, Any] | None = None,
    **words: Any,
) -> str:
    words = {"corrected": (), "ignored": (), **words}
    tokens = Tokens(("word",) * known, vectors=np.zeros((0, 8), np.float32), **words)
    drawn = DrawnMask([{}] * found, np.zeros((1, 1), np.bool_), holes)
    asked = Turn("r", None, target, **(turn or {}))  # type: ignore[arg-type]
    read = Instances((), tokens, confidence)
    return answer.understood(asked, target, read, drawn, unsure=unsure)


@pytest.mark.parametrize(
    ("target", "answered", "said"),
    [
        # clicks, signs, phrase, label and certainty are said, with what to do next
        (prompts("++-", "red cat"), {}, f"3 clicks, 1 negative, 'red cat' → Cat, 91 %; {REMOVE}"),
        # the keys that work now
        (prompts(), {"turn": {"started": True}}, f"1 click → Cat, 91 %; new object; {REMOVE}"),
        (
            prompts(accepted=True),
            {},
            "1 click → Cat, 91 %; Ctrl+Alt-click to remove a part, A to add to it",
        ),
        (
            prompts(accepted=True, brush=BITMASK),
            {},
            "1 click → Cat, 91 %; use the eraser to remove a part, A to add to it",
        ),
        (
            prompts(brush=BITMASK),
            {},
            "1 click → Cat, 91 %; ✓ to keep it, Alt-click to remove a part (the eraser once "
            "accepted), A to add to it",
        ),
        (
            prompts("", box=True),
            {"holes": 2},
            "1 box → Cat, 91 %; 2 holes filled: a polygon has none; "
            "✓ to keep it, Ctrl+Alt-click to remove a part, A to add to it",
        ),
        # a phrase alone, and an object with neither click nor phrase left
        (
            prompts("", "the red cat"),
            {},
            "'the red cat' → Cat, 91 %; ✓ to keep it, click on the object if it is a different one",
        ),
        (prompts(""), {}, "Cat, 91 %; ✓ to keep it, click on the object if it is a different one"),
        # nothing found, or not surely
        (prompts(), {"confidence": 0.31}, "1 click → Cat, 31 %; not sure: click once more"),
        (
            prompts(),
            {"found": False},
            "1 click → Cat: nothing found here; click elsewhere on it or type a phrase",
        ),
        (
            prompts("", "zebra"),
            {"found": False},
            "'zebra' → Cat: nothing found here; click on the object",
        ),
        (
            prompts("", "cat"),
            {"found": False, "confidence": 0.2, "unsure": True},
            "'cat' → Cat: not sure (20 %), so nothing is drawn; click on the object",
        ),
        (
            prompts("", "zq wk"),
            {"found": False, "known": False, "ignored": ("zq",)},
            "'zq wk': I don't know these words; try others or click",
        ),
    ],
)
def test_what_was_understood_and_what_to_do_next(
    target: Prompts, answered: dict[str, Any], said: str
) -> None:
    assert understood(target, **answered) == said


@pytest.mark.parametrize(
    ("clicks", "beginning"),
    [
        ("+", "1 click → Cat"),
        ("++", "2 clicks → Cat"),
        ("+-", "2 clicks, 1 negative → Cat"),
        ("+---", "4 clicks, 3 negative → Cat"),
        ("-", "1 negative click → Cat"),
        ("--", "2 negative clicks → Cat"),
    ],
)
def test_numbers_and_plurals_are_right(clicks: str, beginning: str) -> None:
    assert understood(prompts(clicks)).startswith(beginning)


@pytest.mark.parametrize(
    "answered", [{}, {"found": False, "unsure": True}, {"found": False, "known": False}]
)
def test_a_config_without_clicks_is_not_advised_to_click(answered: dict[str, Any]) -> None:
    assert "click" not in understood(prompts("", "the cat", image=WITHOUT), **answered)


@pytest.mark.parametrize(
    ("answered", "said"),
    [
        (
            {"near": (NearWord("sofa", "couch", 1.0), NearWord("chat", "", 0.0))},
            "'sofa' understood as 'couch'; 'chat' is new to the model",
        ),
        (
            {"near": (NearWord("a", "", 0.0), NearWord("b", "", 0.0))},
            "'a' and 'b' are new to the model",
        ),
        (
            {"corrected": (("doog", "dog"),) * 2, "ignored": ("zebroid",) * 2},
            "'doog' read as 'dog'; 'zebroid' is not known",
        ),
        (
            {"ignored": ("a1", "b2", "c3", "d4", "e5")},
            "'a1', 'b2', 'c3' and 2 more are not known",
        ),
        ({"known": False, "ignored": ("zq",)}, "1 click, 'sofa' → Cat, 91 %; 'zq' is not known"),
        ({"turn": {"notes": ("starts a new object.",)}}, "; starts a new object; ✓ to keep"),
    ],
)
def test_words_and_notes_stand_between(answered: dict[str, Any], said: str) -> None:
    assert said in understood(prompts("+", "sofa"), **answered)


@pytest.mark.parametrize(
    ("confidence", "shown"), [(1.0, "99 %"), (0.0, "0 %"), (0.006, "1 %"), (0.995, "99 %")]
)
def test_certainty_is_never_overstated(confidence: float, shown: str) -> None:
    assert f", {shown};" in understood(prompts(), confidence)


@given(
    phrase=st.text(min_size=1, max_size=2000),
    words=st.lists(st.text(min_size=1, max_size=300), max_size=20).map(tuple),
    notes=st.lists(st.text(max_size=300), max_size=5).map(tuple),
)
def test_it_always_fits_and_always_says_the_counts(
    phrase: str, words: tuple[str, ...], notes: tuple[str, ...]
) -> None:
    said = understood(prompts("++-", phrase), ignored=words, turn={"notes": notes})

    assert len(said) <= MAX_CHARACTERS
    assert said.startswith("3 clicks, 1 negative")


def test_the_advice_goes_first_when_there_is_no_room() -> None:
    said = understood(prompts("+", "w" * 60), ignored=("x" * 24, "y" * 24, "z" * 24))

    assert "not known" in said
    assert "Alt-click" not in said


@pytest.mark.parametrize(
    ("count", "confidences", "whole", "said"),
    [
        (3, (0.9, 0.8, 0.62), 0.9, "3 objects, 62 to 90 %; ✓ to keep them, click inside one"),
        (1, (0.9,), 0.9, "1 object, 90 %; ✓ to keep it, click inside it to refine it"),
        (5, (0.9, 0.8), 0.9, "2 objects, 80 to 90 %; 3 more are labeled already"),
        (4, (), 0.9, "all 4 are labeled already; click on an object that is missing"),
        (1, (), 0.9, "it is labeled already"),
        # words whose answer as a whole is not sure, means nothing, or is sure but is no object
        (0, (), 0.31, "not sure (31 %), so nothing is drawn; click on the object"),
        (0, (), 0.0, "nothing found here; click on the object"),
        (0, (), 0.62, "nothing found here; click on the object"),
    ],
)
def test_what_a_phrase_for_all_of_a_kind_found(
    count: int, confidences: tuple[float, ...], whole: float, said: str
) -> None:
    target = prompts("", "cups", label=Label("Cup"))
    tokens = Tokens(("cups",), (), (), np.zeros((1, 8), np.float32))
    found = Instances((None,) * count, tokens, whole)  # type: ignore[arg-type]
    drawn = Drawn([], target, DrawnMask([], np.zeros((1, 1), np.bool_)), confidences, ())
    turn = Turn("r", None, target)  # type: ignore[arg-type]
    assert said_of_several(turn, target, found, drawn).startswith(f"'cups' → Cup: {said}")


def test_a_failure_of_the_family_speaks_for_itself() -> None:
    error = PictureFetchError(
        "The picture could not be read: storage answered 401.\n"
        "Ask the admin to run phraseclick doctor"
    )

    assert failed(error) == (
        "The picture could not be read: storage answered 401. "
        "Ask the admin to run phraseclick doctor."
    )


def test_any_other_failure_tells_its_kind_but_not_its_text() -> None:
    said = failed(KeyError("token abc123 for /home/someone"))

    assert "KeyError" in said
    assert "abc123" not in said
    assert said.endswith("log.")
    assert len(said) <= MAX_CHARACTERS


def test_remarks_alone_make_a_sentence() -> None:
    assert noted(("Boxes are not used here", "click or type.")) == (
        "Boxes are not used here. click or type."
    )


@pytest.mark.parametrize(("mask", "text"), [(True, ["1 click"]), (False, ["1 click", "no mask"])])
def test_the_item_says_whether_there_is_a_mask(*, mask: bool, text: list[str]) -> None:
    item = answer.status_item("msg", "image", "1 click", mask=mask)
    assert (item["id"], item["type"], item["value"]) == ("status", "textarea", {"text": text})
