from mediaserver.relay.push import Ending, Outcome
from mediaserver.relay.retry import DISMISSALS, GHOST, JITTER, STEADY, Retry


def test_each_wait_is_twice_the_last_up_to_the_longest() -> None:
    retry = Retry(1.0, 30.0)
    assert [retry.delay(0) for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert Retry(1.0, 30.0).delay(1) == 1 + JITTER
    assert Retry(1.0, 30.0).delay(-1) == 1 - JITTER
    for _ in range(2000):  # nor does it overflow
        assert retry.delay(0) == 30


def test_only_a_connection_that_lasted_makes_the_next_loss_the_first() -> None:
    retry = Retry(1.0, 30.0)
    assert [retry.delay(0), retry.delay(0)] == [1, 2]
    retry.lived(100.0, 100.0 + STEADY - 1)
    assert retry.delay(0) == 4
    retry.lived(200.0, 200.0 + STEADY)
    assert retry.delay(0) == 1


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
