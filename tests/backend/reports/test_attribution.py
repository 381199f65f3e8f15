"""Which region an interaction belongs to if annotations share region ids."""

from backend.reports.attribution import Holder, Made, share_out

ANN, BOB = "ann@example.com", "bob@example.com"


def holder(annotation: int, owner: str = "", region: str = "r", brush: str = "brush") -> Holder:
    return Holder(annotation, brush, region, owner)


def made(target: int, owner: str = "", *, started: bool = False, brush: str = "") -> Made:
    return Made(target, "r", owner, started, brush)


def test_one_annotation_holds_what_was_made_for_it():
    assert share_out([holder(1)], [made(7, ANN, started=True)]) == {(1, "brush", "r"): (7,)}


def test_what_no_annotation_holds_is_nobodys():
    assert share_out([holder(1, region="other")], [made(7, ANN, started=True)]) == {}


def test_annotators_who_share_a_predictions_region_each_own_their_clicks():
    shared = share_out([holder(1, ANN), holder(2, BOB)], [made(7, BOB), made(8, ANN)])
    assert shared == {(1, "brush", "r"): (8,), (2, "brush", "r"): (7,)}


def test_who_only_accepted_the_prediction_is_not_charged_for_the_others_clicks():
    # given: bob's annotation was deleted, ann's still holds the prediction's region
    assert share_out([holder(1, ANN)], [made(7, BOB)]) == {}


def test_where_nobody_can_tell_it_is_nobodys():
    assert share_out([holder(1), holder(2)], [made(7)]) == {}
    assert share_out([holder(1, ANN), holder(2, BOB)], [made(7)]) == {}


def test_a_copy_of_an_annotation_costs_nothing():
    shared = share_out([holder(5, BOB), holder(2, BOB)], [made(7, started=True)])
    assert shared == {(2, "brush", "r"): (7,)}


def test_whoever_goes_on_with_anothers_region_adds_to_it():
    # given: a reviewer clicks on in ann's annotation, whose region was begun here
    shared = share_out([holder(1, ANN)], [made(7, ANN, started=True), made(9, BOB, started=True)])
    assert shared == {(1, "brush", "r"): (7, 9)}


def test_two_brushes_with_one_region_id_are_told_apart():
    holders = [holder(1, ANN, brush="fine"), holder(1, ANN, brush="coarse")]
    assert share_out(holders, [made(7, ANN, brush="fine")]) == {(1, "fine", "r"): (7,)}
    assert share_out(holders, [made(7, ANN)]) == {(1, "coarse", "r"): (7,)}


def test_the_order_in_which_things_are_told_changes_nothing():
    holders = [holder(1, ANN), holder(2, BOB), holder(3)]
    targets = [made(7, BOB), made(8, ANN), made(9), made(10, BOB, started=True)]
    assert share_out(holders, targets) == share_out(holders[::-1], targets[::-1])
