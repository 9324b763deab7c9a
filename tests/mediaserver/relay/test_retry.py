import pytest

from mediaserver.relay.push import SECOND_THOUGHTS, TRIAL, Ending, Outcome
from mediaserver.relay.retry import DISMISSALS, GHOST, HURRIES, JITTER, STEADY, Retry


def wait(retry: Retry, outcome: Outcome = Outcome.LOST, jitter: float = 0.0) -> float:
    """Seconds until the try after one that ended so."""
    assert retry.verdict(Ending(outcome, "no"), 0.0) == ""
    return retry.delay(jitter)


@pytest.mark.parametrize("outcome", [Outcome.LOST, Outcome.UNREACHABLE, Outcome.TAKEN])
def test_each_wait_is_twice_the_last_up_to_the_longest(outcome: Outcome) -> None:
    retry = Retry(1.0, 30.0)
    assert [wait(retry, outcome) for _ in range(7)][1:5] == [2, 4, 8, 16]
    for _ in range(2000):  # nor does it overflow
        assert wait(retry, outcome) <= 30


@pytest.mark.parametrize("outcome", [Outcome.LOST, Outcome.UNREACHABLE])
def test_no_wait_is_shorter_than_the_first_or_longer_than_the_longest(outcome: Outcome) -> None:
    least, most = Retry(1.0, 30.0), Retry(1.0, 30.0)
    shortest = [wait(least, outcome, -1) for _ in range(8)]
    longest = [wait(most, outcome, 1) for _ in range(8)]
    assert shortest == [1, *(2**doubling * (1 - JITTER) for doubling in range(1, 5)), 30 * (1 - JITTER), 24, 24]
    assert longest == [1 + JITTER, *(2**doubling * (1 + JITTER) for doubling in range(1, 5)), 30, 30, 30]
    assert wait(Retry(5.0, 5.0), outcome, -1) == wait(Retry(5.0, 5.0), outcome, 1) == 5


def test_only_a_connection_that_lasted_makes_the_next_loss_the_first() -> None:
    retry = Retry(1.0, 30.0)
    assert [wait(retry, jitter=-1), wait(retry)] == [1, 2]
    retry.lived(100.0, 100.0 + TRIAL / 2)
    assert wait(retry) == 4
    retry.lived(200.0, 200.0 + STEADY)
    assert [wait(retry, jitter=-1), wait(retry)] == [1, 2]


def test_a_target_that_took_the_stream_for_a_moment_is_tried_soon_and_not_over_and_over() -> None:
    """It may have been started anew faster than can be seen."""
    retry = Retry(1.0, 30.0)
    waits = []
    for _ in range(HURRIES + 2):
        retry.lived(100.0, 100.0 + TRIAL)
        waits.append(wait(retry, jitter=-1))
    assert waits[:HURRIES] == [1] * HURRIES
    assert min(waits[HURRIES:]) > 20
    retry.lived(200.0, 200.0 + STEADY)
    assert wait(retry, jitter=-1) == 1
    retry.lived(300.0, 300.0 + TRIAL)
    assert wait(retry, jitter=-1) == 1
    # What comes next is no such loss.
    assert wait(retry) == 4


def test_a_connection_that_was_left_for_another_says_nothing_of_how_that_one_ended() -> None:
    retry = Retry(1.0, 30.0)
    assert [wait(retry, jitter=-1), wait(retry)] == [1, 2]
    retry.lived(100.0, 100.0 + TRIAL)
    retry.moved()
    assert wait(retry) == 4


def test_a_target_that_was_away_for_long_has_not_failed_so_often() -> None:
    retry = Retry(1.0, 30.0)
    assert wait(retry, jitter=-1) == 1
    for _ in range(10):
        away = wait(retry, Outcome.UNREACHABLE)
    assert away > 20
    assert wait(retry) == 2


def test_a_target_that_is_back_is_tried_at_once_and_not_over_and_over() -> None:
    retry = Retry(1.0, 30.0)
    assert [retry.hurry(1000.0 + number) for number in range(HURRIES + 3)] == [True] * HURRIES + [False] * 3
    # One more for each longest wait that passes.
    assert [retry.hurry(1040.0), retry.hurry(1041.0)] == [True, False]
    # A target that takes the stream and is killed again is another matter.
    for start in range(2000, 2100, 5):
        assert retry.hurry(start)
        retry.lived(start, start + SECOND_THOUGHTS)


def test_a_no_is_a_no_and_silence_is_none() -> None:
    retry = Retry(1.0, 30.0)
    for outcome in (Outcome.REFUSED, Outcome.UNFIT):
        assert retry.verdict(Ending(outcome, "no"), 0.0) == "no"
    for outcome in (Outcome.LOST, Outcome.UNREACHABLE, Outcome.MOVED):
        assert retry.verdict(Ending(outcome, "no"), 0.0) == ""


def test_a_name_that_is_taken_is_our_own_lost_connection_for_a_while() -> None:
    retry, taken = Retry(1.0, 30.0), Ending(Outcome.TAKEN, "taken")
    retry.lived(0.0, 100.0)
    assert retry.verdict(taken, 99.0 + GHOST) == ""
    assert retry.verdict(taken, 100.0 + GHOST) == "taken, for 300 s"
    # While it was out of reach it could not notice.
    assert retry.verdict(Ending(Outcome.UNREACHABLE, "gone"), 1000.0) == ""
    assert retry.verdict(taken, 1001.0) == ""


def test_a_name_that_is_taken_at_the_first_try_is_an_encoders_lost_connection_for_a_while() -> None:
    """Of one that pushed there itself until now."""
    retry, taken = Retry(1.0, 30.0), Ending(Outcome.TAKEN, "taken")
    now = began = 50.0
    tries = 1
    while not (verdict := retry.verdict(taken, now)):
        now += retry.delay(0)
        tries += 1
    assert verdict == "taken, for 300 s"
    assert GHOST <= now - began < GHOST + 30
    assert tries < 20
    # Being out of reach for a while does not make it final.
    retry = Retry(1.0, 30.0)
    assert retry.verdict(taken, 0.0) == ""
    assert retry.verdict(Ending(Outcome.UNREACHABLE, "gone"), GHOST + 1) == ""
    assert retry.verdict(taken, GHOST + 2) == ""


def test_closing_at_the_sight_of_the_key_is_an_answer_in_the_end() -> None:
    retry, dismissed = Retry(1.0, 30.0), Ending(Outcome.DISMISSED, "closed")
    assert [retry.verdict(dismissed, 0.0) for _ in range(DISMISSALS - 1)] == [""] * (DISMISSALS - 1)
    assert retry.verdict(Ending(Outcome.LOST, "lost"), 0.0) == ""
    assert retry.verdict(dismissed, 0.0) == ""
    assert [retry.verdict(dismissed, 0.0) for _ in range(DISMISSALS)][-1] == f"closed, {DISMISSALS} times in a row"


def test_a_target_that_took_the_stream_once_may_close_as_often_as_it_likes() -> None:
    retry = Retry(1.0, 30.0)
    retry.lived(0.0, STEADY)
    assert {retry.verdict(Ending(Outcome.DISMISSED, "closed"), 0.0) for _ in range(3 * DISMISSALS)} == {""}


def test_a_target_that_is_away_behind_its_closing_had_no_opinion_of_the_key() -> None:
    retry, dismissed = Retry(1.0, 30.0), Ending(Outcome.DISMISSED, "closed")
    for number in range(DISMISSALS):
        assert {retry.verdict(dismissed, 0.0) for _ in range(DISMISSALS - 1)} == {""}
        if number % 2:
            assert retry.verdict(Ending(Outcome.UNREACHABLE, "gone"), 0.0) == ""
        else:
            retry.missed(0.0)
