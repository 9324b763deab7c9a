"""Names: what may be published, and what may be played."""

import pytest

from mediaserver.ports import BAD_STREAM_NAME, NOT_A_RENDITION, is_name, objection_to, rendition_name

LONGEST = "x" * 128


@pytest.mark.parametrize("name", ["a", "my-show.1", "A_b+c~d", LONGEST])
def test_a_stream_has_a_name_that_stands_anywhere(name: str) -> None:
    assert objection_to(name) == ""
    assert is_name(name)


@pytest.mark.parametrize("name", ["", "a/b", "..", "a..b", ".hidden", "a b", "ä", "\u202eevil", "a\x00", "a\n", LONGEST + "x"])
def test_what_climbs_or_needs_escaping_is_no_name(name: str) -> None:
    assert objection_to(name) == BAD_STREAM_NAME
    assert not is_name(name)


@pytest.mark.parametrize("rung", ["720p", "audio", "_x", "r" * 32])
@pytest.mark.parametrize("name", ["a", LONGEST])
def test_every_rendition_of_every_stream_can_be_played_and_none_be_published(name: str, rung: str) -> None:
    assert is_name(rendition_name(name, rung))
    assert objection_to(rendition_name(name, rung)) == NOT_A_RENDITION


@pytest.mark.parametrize("name", ["a@", "@720p", "a@b@c", "a@.b", "a@b..c", "a@" + "r" * 33, "a@b/c"])
def test_a_mark_alone_makes_no_rendition(name: str) -> None:
    assert objection_to(name) == BAD_STREAM_NAME
    assert not is_name(name)
