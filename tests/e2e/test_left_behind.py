"""Masks that leave the page without being accepted: what the page says, and how they come back."""

import re

import numpy as np
import requests

from tests.e2e.annotator_page import AnnotatorPage
from tests.e2e.photographs import CAT, COFFEE
from tests.e2e.regions import decode
from tests.e2e.servers import until
from tests.e2e.studio import Studio

CAT_KEY, CUP = "2", "6"
TOKEN = re.compile(r'name="token" value="([0-9a-f]+)"')


def test_the_line_about_a_mask_goes_with_it(studio: Studio, page: AnnotatorPage) -> None:
    # given a suggestion
    page.open(studio.project(), studio.task(CAT))
    page.click(55, 45, CAT_KEY)
    assert page.status.startswith("1 click → Cat")
    # when it is rejected, then the line about it is gone
    page.reject()
    page.page.wait_for_timeout(300)
    assert page.status == ""
    assert page.banner.startswith("Press K and a label’s key")
    # and an answer without a mask stays readable
    page.open(studio.project(), studio.task(CAT))
    page.say("zqxv wkrj")
    assert "I don't know these words" in page.status


def test_a_task_that_was_left_says_that_its_points_have_no_mask(
    studio: Studio, page: AnnotatorPage
) -> None:
    # given a suggestion that was not accepted when the annotator went to another task
    task, other = studio.task(CAT), studio.task(COFFEE)
    page.open(studio.project(), task)
    page.click(55, 45, CAT_KEY)
    page.draft_saved()
    page.open(studio.project(), other)
    # when the task is opened again
    page.open(studio.project(), task)
    # then the page has the point without the mask, and says so
    assert page.regions() == []
    assert page.clicks_on_page() == 1
    assert page.status == ""
    assert page.banner.startswith("Points without a mask are left")
    page.picture("left")
    # and one more click brings the object back, with both clicks
    page.click(45, 65, CAT_KEY)
    assert page.status.startswith("2 clicks → Cat")


def test_a_mask_that_submit_dropped_is_put_back_from_the_dashboard(
    studio: Studio, page: AnnotatorPage
) -> None:
    # given a mask of a click and a phrase, which the page warns about
    task = studio.task(CAT)
    page.open(studio.project(), task)
    page.click(55, 45, CAT_KEY)
    page.say("the cat")
    mask = page.only().mask
    assert page.page.locator(".pc-keep").is_visible()
    # when it is submitted without being accepted
    page.submit()
    (annotation,) = studio.api.annotations(task)
    assert not [item for item in annotation["result"] if item["type"] == "brushlabels"]
    # then the dashboard lists it
    browser = requests.Session()
    browser.trust_env = False
    groups = f"{studio.backend.url}/dashboard/projects/{studio.project()}/groups"
    form = f"/tasks/{task}/annotations/{annotation['id']}/put-back"
    with studio.backend.worker():
        assert until(lambda: form in browser.get(groups, timeout=30).text, 120)
    # and one click there makes it a prediction
    shown = browser.get(groups, timeout=30).text
    (token, *_) = TOKEN.findall(shown)
    (address,) = re.findall(rf'action="([^"]+{form})"', shown)
    answer = browser.post(f"{studio.backend.url}{address}", data={"token": token}, timeout=60)
    assert answer.ok
    assert f"Task {task} has a prediction with 1 mask now." in answer.text
    assert form not in answer.text
    (prediction,) = studio.api.predictions(task)
    (item,) = prediction["result"]
    assert np.array_equal(decode(item), mask)
