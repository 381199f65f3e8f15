"""Two annotators on one task, each in a browser of their own."""

from collections.abc import Callable
from pathlib import Path

from tests.e2e.annotator_page import AnnotatorPage
from tests.e2e.photographs import COFFEE
from tests.e2e.regions import at, decode, iou
from tests.e2e.servers import until
from tests.e2e.studio import Studio

CUP, ADD = "6", "a"


def test_two_annotators_on_one_task_do_not_mix(
    studio: Studio, new_page: Callable[..., AnnotatorPage], logged_in: Path
) -> None:
    # given two annotators at the same task, both with Auto-Accept
    task = studio.task(COFFEE)
    one, two = new_page(cookies=logged_in), new_page()
    two.sign_up(studio.api.invitation(), "second@example.com", "another-pass-word")
    one.open(studio.project(), task, auto_accept=True)
    two.open(studio.project(), task, auto_accept=True)
    # when one clicks the cup and the other the spoon, and Label Studio has saved their drafts
    one.click(50, 35, CUP)
    two.click(59, 71, CUP)
    assert until(lambda: one.has_draft() and two.has_draft(), 30)
    cup, spoon = one.only(), two.only()
    assert cup.id != spoon.id
    # and each adds to their own last object, the one who clicked first coming last
    two.click(61, 76, ADD, keys=("Control",))
    one.click(38, 66, ADD, keys=("Control",))
    # then each has one object, made of their own clicks
    assert two.only().id == spoon.id
    assert one.only().id == cup.id
    assert one.status.startswith("2 clicks → Cup")
    assert two.status.startswith("2 clicks → Cup")
    assert at(one.only().mask, 38, 66)
    assert at(two.only().mask, 61, 76)
    # and what each submits is their own
    shown = [one.only().mask, two.only().mask]
    one.submit()
    two.submit()
    stored = studio.api.annotations(task)
    assert len(stored) == 2
    for annotation, mask in zip(stored, shown, strict=True):
        (item,) = [item for item in annotation["result"] if item["type"] == "brushlabels"]
        assert iou(decode(item), mask) >= 0.99
