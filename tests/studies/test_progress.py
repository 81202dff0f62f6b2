import math

import pytest

from holdfast.studies.progress import Tracker


def test_the_time_left_is_that_of_what_is_to_come_over_how_many_go_side_by_side() -> None:
    tracker = Tracker(total=8, ended=2)
    assert math.isnan(tracker.seconds_left(0.0))
    tracker.start(0, 0.0)
    tracker.start(1, 0.0)
    assert math.isnan(tracker.seconds_left(5.0))
    tracker.end(0, 10.0)
    # Three to come at 10 s each, one under way that should have ended by now.
    tracker.start(2, 10.0)
    assert tracker.seconds_left(10.0) == pytest.approx((3 * 10 + 10 + 0) / 2)
    assert tracker.seconds_left(14.0) == pytest.approx((3 * 10 + 6 + 0) / 2)
    tracker.end(1, 20.0, failed=True)
    assert tracker.seconds_left(20.0) == pytest.approx((3 * 15 + 5) / 2)
    told = tracker.progress("failed", 20.0, "cell", 3, "why")
    assert (told.total, told.ended, told.failed, told.running) == (8, 4, 1, 1)
    assert (told.event, told.cell, told.seed, told.error) == ("failed", "cell", 3, "why")


def test_nothing_is_left_of_a_study_that_is_done() -> None:
    assert Tracker(total=3, ended=3).seconds_left(1.0) == 0
