"""A wish that anyone may have is granted now and then."""

from backend.api.service import RateLimit


def test_the_same_key_waits_and_others_do_not() -> None:
    now = 100.0
    limit = RateLimit(each_s=2.0, most=30, clock=lambda: now)

    assert limit.take("1")
    assert limit.take("2")
    assert not limit.take("1")
    now += 2.1
    assert limit.take("1")


def test_all_together_are_limited_and_a_minute_later_are_not() -> None:
    now = 100.0
    limit = RateLimit(most=30, clock=lambda: now)

    assert sum(limit.take(str(number)) for number in range(1_000)) == 30
    now += 61
    assert limit.take("1")
