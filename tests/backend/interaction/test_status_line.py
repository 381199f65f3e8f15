"""The sentence an annotator reads: right numbers, right words, and short enough for its banner."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.errors import PictureFetchError
from backend.interaction.answer import (
    MAX_CHARACTERS,
    Understood,
    failed,
    noted,
    said_of_several,
    status_item,
    understood,
)


def of(**changes: object) -> str:
    defaults = {"positives": 1, "negatives": 0, "label": "Cat", "confidence": 0.91, "found": True}
    return understood(Understood(**{**defaults, **changes}))  # type: ignore[arg-type]


NOTHING_SURE = "not sure (20 %), so nothing is drawn; click on the object"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        # clicks, signs, phrase, label and certainty are said, with what to do next
        (
            {"positives": 2, "negatives": 1, "phrase": "red cat"},
            "3 clicks, 1 negative, 'red cat' → Cat, 91 %; "
            "✓ to keep it, Alt-click to remove a part (Ctrl+Alt once accepted)",
        ),
        # the keys that work now
        (
            {"started": True, "adds": "A"},
            "1 click → Cat, 91 %; new object; "
            "✓ to keep it, Alt-click to remove a part (Ctrl+Alt once accepted), A to add to it",
        ),
        (
            {"accepted": True, "adds": "A"},
            "1 click → Cat, 91 %; Ctrl+Alt-click to remove a part, A to add to it",
        ),
        (
            {"accepted": True, "adds": "A", "bitmask": True},
            "1 click → Cat, 91 %; use the eraser to remove a part, A to add to it",
        ),
        (
            {"bitmask": True},
            "1 click → Cat, 91 %; "
            "✓ to keep it, Alt-click to remove a part (the eraser once accepted)",
        ),
        (
            {"positives": 0, "boxed": True, "holes": 2},
            "1 box → Cat, 91 %; 2 holes filled: a polygon has none; "
            "✓ to keep it, Ctrl+Alt-click to remove a part",
        ),
        # a phrase alone, and an object with neither click nor phrase left
        (
            {"positives": 0, "phrase": "the red cat"},
            "'the red cat' → Cat, 91 %; ✓ to keep it, click on the object if it is a different one",
        ),
        ({"positives": 0}, "Cat, 91 %; ✓ to keep it, click on the object if it is a different one"),
        # nothing found, or not surely
        ({"confidence": 0.31}, "1 click → Cat, 31 %; not sure: click once more"),
        (
            {"found": False},
            "1 click → Cat: nothing found here; click elsewhere on it or type a phrase",
        ),
        (
            {"found": False, "positives": 0, "phrase": "zebra"},
            "'zebra' → Cat: nothing found here; click on the object",
        ),
        (
            {"found": False, "positives": 0, "phrase": "cat", "confidence": 0.2, "unsure": True},
            f"'cat' → Cat: {NOTHING_SURE}",
        ),
        (
            {"found": False, "positives": 0, "phrase": "zq wk", "known": False, "ignored": ("zq",)},
            "'zq wk': I don't know these words; try others or click",
        ),
    ],
)
def test_what_was_understood_and_what_to_do_next(changes: dict[str, object], said: str) -> None:
    assert of(**changes) == said


@pytest.mark.parametrize(
    ("positives", "negatives", "beginning"),
    [
        (1, 0, "1 click → Cat"),
        (2, 0, "2 clicks → Cat"),
        (1, 1, "2 clicks, 1 negative → Cat"),
        (1, 3, "4 clicks, 3 negative → Cat"),
        (0, 1, "1 negative click → Cat"),
        (0, 2, "2 negative clicks → Cat"),
    ],
)
def test_numbers_and_plurals_are_right(positives: int, negatives: int, beginning: str) -> None:
    assert of(positives=positives, negatives=negatives).startswith(beginning)


def test_a_config_without_clicks_is_not_advised_to_click() -> None:
    answers = (
        of(positives=0, phrase="the cat", can_click=False),
        of(positives=0, phrase="the cat", can_click=False, found=False, unsure=True),
        of(positives=0, phrase="zq", can_click=False, found=False, known=False),
    )
    assert all("click" not in said for said in answers)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"near": (("sofa", "couch"),), "unfamiliar": ("chat",)},
            "'sofa' understood as 'couch'; 'chat' is new to the model",
        ),
        ({"unfamiliar": ("a", "b")}, "'a' and 'b' are new to the model"),
        (
            {"corrected": (("doog", "dog"),), "ignored": ("zebroid",)},
            "'doog' read as 'dog'; 'zebroid' is not known",
        ),
        ({"ignored": ("a1", "b2")}, "'a1' and 'b2' are not known"),
        (
            {"ignored": ("a1", "b2", "c3", "d4", "e5")},
            "'a1', 'b2', 'c3' and 2 more are not known",
        ),
        ({"known": False, "ignored": ("zq",)}, "1 click, 'sofa' → Cat, 91 %; 'zq' is not known"),
        ({"notes": ("starts a new object.",)}, "; starts a new object; ✓ to keep"),
    ],
)
def test_words_and_notes_stand_between(changes: dict[str, object], said: str) -> None:
    assert said in of(phrase="sofa", **changes)


@pytest.mark.parametrize(
    ("confidence", "shown"), [(1.0, "99 %"), (0.0, "0 %"), (0.006, "1 %"), (0.995, "99 %")]
)
def test_certainty_is_never_overstated(confidence: float, shown: str) -> None:
    assert f", {shown};" in of(confidence=confidence)


@given(
    phrase=st.text(max_size=2000),
    words=st.lists(st.text(min_size=1, max_size=300), max_size=20).map(tuple),
    notes=st.lists(st.text(max_size=300), max_size=5).map(tuple),
)
def test_it_always_fits_and_always_says_the_counts(
    phrase: str, words: tuple[str, ...], notes: tuple[str, ...]
) -> None:
    said = of(positives=2, negatives=1, phrase=phrase, ignored=words, notes=notes)

    assert len(said) <= MAX_CHARACTERS
    assert said.startswith("3 clicks, 1 negative")


def test_the_advice_goes_first_when_there_is_no_room() -> None:
    said = of(phrase="w" * 60, ignored=("x" * 24, "y" * 24, "z" * 24))

    assert "not known" in said
    assert "Alt-click" not in said


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
    assert status_item("msg", "image", "1 click", mask=mask) == {
        "id": "status",
        "from_name": "msg",
        "to_name": "image",
        "type": "textarea",
        "value": {"text": text},
    }


@pytest.mark.parametrize(
    ("count", "confidences", "said"),
    [
        (
            3,
            (0.9, 0.8, 0.62),
            "'cups' → Cup: 3 objects, 62 to 90 %; ✓ to keep them, click inside one to refine it",
        ),
        (1, (0.9,), "'cups' → Cup: 1 object, 90 %; ✓ to keep them, click inside one"),
        (5, (0.9, 0.8), "'cups' → Cup: 2 objects, 80 to 90 %; 3 more are labeled already"),
        (4, (), "'cups' → Cup: all 4 are labeled already; click on an object that is missing"),
        (1, (), "'cups' → Cup: it is labeled already"),
        (0, (), "'cups' → Cup: not sure (31 %), so nothing is drawn; click on the object"),
    ],
)
def test_what_a_phrase_for_all_of_a_kind_found(
    count: int, confidences: tuple[float, ...], said: str
) -> None:
    answer = Understood(0, 0, "Cup", 0.31, bool(count), phrase="cups")
    assert said_of_several(answer, found=count, confidences=confidences).startswith(said)


@pytest.mark.parametrize("confidence", [0.0, 0.62])
def test_words_that_find_no_single_object_are_unsure_only_where_they_are(confidence: float) -> None:
    # given words whose answer as a whole means nothing, or is sure but is no object
    answer = Understood(0, 0, "Cup", confidence, False, phrase="cups")
    assert said_of_several(answer, found=0, confidences=()).startswith(
        "'cups' → Cup: nothing found here; click on the object"
    )
