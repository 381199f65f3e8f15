"""Which questions are asked of which data."""

from typing import Any

from tests.training.conftest import Pictures
from tests.training.evaluation.conftest import sample
from training.data import Expression, SampleObject
from training.evaluation.cases import cases_of, size_of, target_of


def test_by_clicks_every_object_is_asked_for_once(two_pictures: Any) -> None:
    cases = cases_of(two_pictures, "clicks")
    assert [(case.index, case.ids) for case in cases] == [
        (index, (number,)) for index in (0, 1) for number in (1, 2, 3)
    ]
    assert cases[0].phrase == "dog"


def test_a_bare_name_alone_asks_for_all_of_the_kind_once() -> None:
    # given two sofas under two names, a region of several more, and a cat
    objects = [
        SampleObject(1, "sofa"),
        SampleObject(2, "couch"),
        SampleObject(3, "cat"),
        SampleObject(4, "sofa", semantic=True),
    ]
    dataset = Pictures([sample("a", objects)])
    # when
    alone = cases_of(dataset, "phrase")
    with_clicks = cases_of(dataset, "phrase+clicks")
    # then
    assert {(case.phrase, case.ids) for case in alone} == {("sofa", (1, 2, 4)), ("cat", (3,))}
    assert {(case.phrase, case.ids) for case in with_clicks} == {
        ("sofa", (1,)),
        ("sofa", (2,)),
        ("cat", (3,)),
    }
    assert target_of(dataset[0], alone[0]).mask.sum() == 20 * 25 + 20 * 30


def test_what_people_wrote_is_a_question_each() -> None:
    # given a dog with a written phrase, and one without
    objects = [SampleObject(1, "dog", phrases=("red one", "left dog")), SampleObject(2, "dog")]
    said = [Expression("both dogs", (1, 2)), Expression("the zebra", ())]
    dataset = Pictures([sample("a", objects, expressions=said)])
    with_clicks = cases_of(dataset, "phrase+clicks")
    assert [case.phrase for case in with_clicks] == ["red one", "left dog"]
    assert {(case.phrase, case.ids) for case in cases_of(dataset, "phrase")} == {
        ("red one", (1,)),
        ("left dog", (1,)),
        ("both dogs", (1, 2)),
        ("the zebra", ()),
    }
    assert [case.phrase for case in cases_of(dataset, "clicks")] == ["red one", "dog"]


def test_a_limit_chooses_the_same_objects_each_time_and_in_each_mode() -> None:
    dataset = Pictures(
        [sample(str(n), source=source) for source in ("voc", "coco") for n in range(10)]
    )
    limited = cases_of(dataset, "clicks", limit=7)
    assert limited == cases_of(dataset, "clicks", limit=7)
    assert len(limited) == 14
    assert [case.ids for case in cases_of(dataset, "phrase+clicks", limit=7)] == [
        case.ids for case in limited
    ]
    assert {case.source for case in cases_of(dataset, sources=["coco"])} == {"coco"}


def test_sizes_follow_coco_as_shares_of_the_picture() -> None:
    whole = 640 * 480
    areas = (31 * 31, 32 * 32, 95 * 95, 96 * 96)
    assert [size_of(area / whole) for area in areas] == ["small", "medium", "medium", "large"]
