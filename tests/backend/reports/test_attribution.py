"""Which region an interaction belongs to if annotations share region ids."""

from backend.reports.attribution import PromptedObject, Region, assign

ANN, BOB = "ann@example.com", "bob@example.com"


def region(annotation: int, owner: str = "", region_id: str = "r", brush: str = "brush") -> Region:
    return Region(annotation, brush, region_id, owner)


def prompted(
    number: int, owner: str = "", *, started: bool = False, brush: str = ""
) -> PromptedObject:
    return PromptedObject(number, "r", owner, started, brush)


def test_the_only_annotation_with_the_region_gets_the_interactions():
    assert assign([region(1)], [prompted(7, ANN, started=True)]) == {(1, "brush", "r"): (7,)}


def test_a_region_that_no_annotation_contains_is_assigned_to_none():
    assert assign([region(1, region_id="other")], [prompted(7, ANN, started=True)]) == {}


def test_annotators_who_share_a_predictions_region_get_their_own_clicks():
    assigned = assign([region(1, ANN), region(2, BOB)], [prompted(7, BOB), prompted(8, ANN)])
    assert assigned == {(1, "brush", "r"): (8,), (2, "brush", "r"): (7,)}


def test_an_annotator_who_only_accepted_the_prediction_gets_no_clicks_of_others():
    # given: bob's annotation was deleted, ann's still has the prediction's region
    assert assign([region(1, ANN)], [prompted(7, BOB)]) == {}


def test_an_ambiguous_object_is_assigned_to_none():
    assert assign([region(1), region(2)], [prompted(7)]) == {}
    assert assign([region(1, ANN), region(2, BOB)], [prompted(7)]) == {}


def test_a_copy_of_an_annotation_costs_nothing():
    assigned = assign([region(5, BOB), region(2, BOB)], [prompted(7, started=True)])
    assert assigned == {(2, "brush", "r"): (7,)}


def test_a_user_who_continues_anothers_region_adds_to_it():
    # given: a reviewer continues in ann's annotation, whose region was started here
    assigned = assign(
        [region(1, ANN)], [prompted(7, ANN, started=True), prompted(9, BOB, started=True)]
    )
    assert assigned == {(1, "brush", "r"): (7, 9)}


def test_two_brushes_with_one_region_id_are_distinct():
    regions = [region(1, ANN, brush="fine"), region(1, ANN, brush="coarse")]
    assert assign(regions, [prompted(7, ANN, brush="fine")]) == {(1, "fine", "r"): (7,)}
    assert assign(regions, [prompted(7, ANN)]) == {(1, "coarse", "r"): (7,)}


def test_the_order_does_not_matter():
    regions = [region(1, ANN), region(2, BOB), region(3)]
    objects = [prompted(7, BOB), prompted(8, ANN), prompted(9), prompted(10, BOB, started=True)]
    assert assign(regions, objects) == assign(regions[::-1], objects[::-1])
