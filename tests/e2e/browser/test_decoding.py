"""A stream of which the browser can decode a part: that part plays, and words say what is missing and what to push instead."""

from typing import Any

import pytest

from tests.browser import OpenTab, Tab
from tests.conftest import Serve
from tests.media import Clips
from tests.peers import Peers, Server

#: A browser that decodes less than this one: nothing whose name begins with one of ``refused``.
_REFUSE = """(refused => {
  const {isTypeSupported} = MediaSource;
  const known = (type) => !refused.some((name) => type.includes(`"${name}`) || type.includes(`=${name}`));
  MediaSource.isTypeSupported = (type) => known(type) && isTypeSupported.call(MediaSource, type);
  if (window.ManagedMediaSource) window.ManagedMediaSource.isTypeSupported = MediaSource.isTypeSupported;
  const {addSourceBuffer} = MediaSource.prototype;
  MediaSource.prototype.addSourceBuffer = function (type) {
    if (!known(type)) throw new DOMException('refused by the test', 'NotSupportedError');
    return addSourceBuffer.call(this, type);
  };
  const {mediaCapabilities} = navigator, decodingInfo = mediaCapabilities?.decodingInfo;
  if (decodingInfo) mediaCapabilities.decodingInfo = async (asked) => {
    const taken = [asked.video, asked.audio].every((track) => !track || known(track.contentType));
    return taken ? decodingInfo.call(mediaCapabilities, asked) : {supported: false, smooth: false, powerEfficient: false};
  };
})"""


def lesser(tab: OpenTab, *refused: str, own: Server | None = None) -> Tab:
    """A page in a browser that does not decode ``refused``."""
    page = tab(strict=False, own=own)
    page.page.add_init_script(f"{_REFUSE}({list(refused)!r})")
    return page


def test_h264_with_mp3_is_seen_without_sound_and_the_page_says_what_to_push(
    server: Server, peers: Peers, clips: Clips, tab: OpenTab
) -> None:
    peers.ffmpeg_push(clips.get(audio="mp3"), server.rtmp("show"))
    server.wait_live("show")
    page = tab()
    for kind in ("ll-hls", "hls", "dash"):
        page.open(server.url(f"/watch/show?player={kind}"))
        page.wait_state("playing")
        page.numbers(4)
        page.wait("!document.querySelector('#lacking').hidden")
        assert page.text("#lacking") == "The sound is MP3, which this browser cannot play: push AAC (-c:a aac)."
        assert page.text("#tracks").endswith("H.264 · MP3 · not heard here")
        assert page.page.is_hidden(".no-picture")


@pytest.mark.parametrize("kind", ["ll-hls", "dash"])
def test_a_picture_that_cannot_be_decoded_leaves_the_sound(
    kind: str, server: Server, peers: Peers, clips: Clips, tab: OpenTab
) -> None:
    peers.ffmpeg_push(clips.get(), server.rtmp("show"))
    server.wait_live("show")
    page = lesser(tab, "avc1")
    page.open(server.url(f"/watch/show?player={kind}"))
    page.wait_state("playing")
    before = page.video()["time"]
    page.wait(f"document.querySelector('video').currentTime > {before + 1}")
    page.wait("!document.querySelector('#lacking').hidden")
    assert page.text("#lacking").startswith("The picture is H.264 of a kind that this browser cannot play: push it in 4:2:0")
    assert page.text(".no-picture") == "Sound only"
    assert page.page.is_visible(".no-picture")


@pytest.mark.parametrize("kind", ["ll-hls", "dash"])
def test_what_cannot_be_decoded_at_all_is_named_and_another_broadcast_plays(
    kind: str, serve: Serve, peers: Peers, clips: Clips, tab: OpenTab
) -> None:
    server = serve(rtmp={"reconnect_grace": 0.0})
    push = peers.ffmpeg_push(clips.get(), server.rtmp("show"))
    server.wait_live("show")
    page = lesser(tab, "avc1", "mp4a", own=server)
    page.open(server.url(f"/watch/show?player={kind}"))
    page.wait_state("failed")
    assert page.text("#veil-title") == "This stream cannot be played here"
    assert page.text("#veil-text").startswith("This browser can play neither the picture (H.264) nor the sound (AAC)")
    assert page.page.is_visible("#retry")
    push.stop()
    page.wait_state("waiting")
    peers.pyav_push(clips.get(video="av1", audio="opus"), server.rtmp("show"))
    page.wait_state("playing")
    page.numbers(4)
    assert page.page.is_hidden("#lacking")


#: As the server writes them.
_SOUND = '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",NAME="Audio",DEFAULT=YES,URI="audio.m3u8?session=1"'
_LADDER = f"""#EXTM3U
#EXT-X-VERSION:9
{_SOUND}
#EXT-X-STREAM-INF:BANDWIDTH=900,AVERAGE-BANDWIDTH=800,CODECS="avc1.4d400d,mp4a.6B",RESOLUTION=1280x720,AUDIO="audio"
video.m3u8?session=1
#EXT-X-STREAM-INF:BANDWIDTH=500,CODECS="avc1.4d400d,mp4a.6B",RESOLUTION=640x360,AUDIO="audio"
../show@360p/video.m3u8?session=1
"""


def playable(page: Tab, server: Server, text: str, *refused: str) -> tuple[str, list[str]]:
    script = """async ([url, text, refused]) =>
      (await import(url)).playable(text, (name) => !refused.some((each) => name.startsWith(each)))"""
    found: dict[str, Any] = page.page.evaluate(script, [server.url("/static/web/decoding.js"), text, list(refused)])
    return found["text"], found["left"]


def test_a_playlist_keeps_every_quality_that_can_be_seen(idle: Server, tab: OpenTab) -> None:
    page = tab(own=idle)
    page.open(idle.url("/healthz"))
    assert playable(page, idle, _LADDER) == (_LADDER, [])
    seen = _LADDER.replace(f"{_SOUND}\n", "").replace(",mp4a.6B", "").replace(',AUDIO="audio"', "")
    assert playable(page, idle, _LADDER, "mp4a") == (seen, ["audio"])
    heard = '#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-STREAM-INF:BANDWIDTH=900,CODECS="mp4a.6B"\naudio.m3u8?session=1\n'
    assert playable(page, idle, _LADDER, "avc1") == (heard, ["video"])
    text, left = playable(page, idle, _LADDER, "avc1", "mp4a")
    assert (text, set(left)) == (_LADDER, {"video", "audio"})
    # One quality that can be played whole is enough: hls.js leaves the others out by itself.
    mixed = _LADDER.replace("avc1", "hvc1", 1)
    assert playable(page, idle, mixed, "hvc1") == (mixed, [])
    # One of sound alone is not: there is a picture that nobody sees.
    alone = '#EXT-X-STREAM-INF:BANDWIDTH=100,CODECS="mp4a.6B",AUDIO="audio"\naudio.m3u8?session=1\n'
    assert playable(page, idle, _LADDER + alone, "avc1") == (heard, ["video"])
    only = f"#EXTM3U\n{_SOUND}\n{alone}"
    assert playable(page, idle, only) == (only, [])
