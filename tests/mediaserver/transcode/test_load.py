"""When pictures are skipped, rungs shed and restored."""

from mediaserver.transcode.load import CATCH_UP, FIRST_PATIENCE, MEMORY, MOST_LAG, SHED_AFTER, Load, Verdict


def busy(load: Load, now: float, seconds: int, *, encoded: int = 2, shed: int = 0) -> list[Verdict]:
    """So many seconds of too much to do, and what is said in each."""
    verdicts = []
    for second in range(seconds):
        load.skips(now + second, MOST_LAG + 1, keyframe=False)
        verdicts.append(load.sweep(now + second, encoded=encoded, shed=shed))
    return verdicts


def running(now: float = 0.0) -> Load:
    load = Load(now)
    assert not load.skips(now, 0, keyframe=True)
    return load


def test_what_keeps_up_skips_nothing_and_sheds_nothing() -> None:
    load = running()
    for second in range(100):
        assert not load.skips(second, MOST_LAG, keyframe=False)
        assert load.sweep(second, encoded=2, shed=0) is Verdict.KEEP


def test_too_much_on_the_way_skips_to_a_keyframe_at_which_it_is_better() -> None:
    load = running()
    assert load.skips(1, MOST_LAG + 1, keyframe=False)
    assert load.skips(2, 100, keyframe=False), "pictures lean on those that were skipped"
    assert load.skips(3, MOST_LAG, keyframe=True), "still much too late"
    assert not load.skips(4, 100, keyframe=True)
    assert not load.skips(5, 100, keyframe=False)


def test_who_begins_may_catch_up() -> None:
    load = Load(0)
    assert not load.skips(1, 20_000, keyframe=False)
    assert load.skips(CATCH_UP, 20_000, keyframe=False)


def test_skipping_for_long_sheds_a_rung_and_calm_brings_it_back() -> None:
    load = running()
    verdicts = busy(load, 10, int(SHED_AFTER))
    assert verdicts[-1] is Verdict.SHED
    load.begin(13)
    assert not load.skips(14, 0, keyframe=True)
    calm = [load.sweep(at, encoded=1, shed=1) for at in range(14, 12 + int(FIRST_PATIENCE) + 1)]
    assert calm[-1] is Verdict.RESTORE
    assert set(calm[:-1]) == {Verdict.KEEP}


def test_a_relapse_makes_it_more_patient() -> None:
    load = running()
    now, waits = 0.0, []
    for _ in range(3):
        assert Verdict.SHED in busy(load, now, int(SHED_AFTER))
        now += SHED_AFTER
        load.begin(now)
        load.skips(now, 0, keyframe=True)
        since = now
        while load.sweep(now, encoded=1, shed=1) is not Verdict.RESTORE:
            now += 1
        waits.append(now - since)
    assert waits[1] > 1.5 * waits[0]
    assert waits[2] > 1.5 * waits[1]


def test_a_hiccup_now_and_then_sheds_nothing() -> None:
    load = running()
    for number in range(20):
        now = number * MEMORY
        assert busy(load, now, 1) == [Verdict.KEEP]
        assert not load.skips(now + 1, 0, keyframe=True)


def test_the_last_rung_is_not_shed_and_calm_brings_nothing_back() -> None:
    load = running()
    assert set(busy(load, 10, 30, encoded=1)) == {Verdict.KEEP}
    assert not load.skips(40, 0, keyframe=True)
    calm = {load.sweep(at, encoded=1, shed=0) for at in range(40, 40 + int(3 * FIRST_PATIENCE))}
    assert calm == {Verdict.KEEP}


def test_a_rung_that_comes_when_only_one_was_left_is_shed_at_once_if_it_is_too_much() -> None:
    load = running()
    busy(load, 10, 10, encoded=1)
    assert busy(load, 20, 1, encoded=2) == [Verdict.SHED]
