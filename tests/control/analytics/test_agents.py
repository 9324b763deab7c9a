"""What User-Agents say, and that those who say nothing are believed to."""

import pytest

from control.analytics.agents import read_platform

_CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0"
_KNOWN = {
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_CHROME} Safari/537.36": "windows",
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_CHROME} Safari/537.36 Edg/126.0": "windows",
    f"Mozilla/5.0 (X11; Linux x86_64) {_CHROME} Safari/537.36 OPR/112.0": "linux",
    f"Mozilla/5.0 (X11; Linux x86_64) {_CHROME.replace('Chrome', 'HeadlessChrome')} Safari/537.36": "linux",
    f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {_CHROME} Safari/537.36": "chromeos",
    f"Mozilla/5.0 (Linux; Android 14; Pixel 8) {_CHROME} Mobile Safari/537.36": "android",
    f"Mozilla/5.0 (Linux; Android 14; SM-S918B) SamsungBrowser/25.0 {_CHROME} Mobile Safari/537.36": "android",
    "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0": "linux",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15": "macos",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 "
    "Mobile/15E148 Safari/604.1": "ios",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/126.0 "
    "Mobile/15E148 Safari/604.1": "ios",
    "AppleCoreMedia/1.0.0.21F79 (iPhone; U; CPU OS 17_5 like Mac OS X; en_us)": "ios",
    "AppleCoreMedia/1.0.0.21L569 (Apple TV; U; CPU OS 17_5 like Mac OS X; en_us)": "tv",
    f"Mozilla/5.0 (Linux; Android 11; BRAVIA 4K VH2) {_CHROME} Safari/537.36": "tv",
    f"Mozilla/5.0 (Web0S; Linux/SmartTV) {_CHROME} Safari/537.36": "tv",
    "MyApp/1.0 (Linux;Android 14) ExoPlayerLib/2.19.1": "android",
    "VLC/3.0.20 LibVLC/3.0.20": None,
    "Lavf/60.16.100": None,
    # By RTMP, on whatever system.
    "LNX 9,0,124,2": None,
    "GStreamer souphttpsrc 1.24.2 libsoup/3.4.4": None,
    "mpv 0.38.0": None,
    "curl/8.5.0": None,
}


@pytest.mark.parametrize("text", _KNOWN)
def test_a_user_agent_tells_the_system(text: str) -> None:
    assert read_platform(text) == _KNOWN[text]


@pytest.mark.parametrize(
    "text", ["", "-", "Mozilla/5.0", "a player of somebody's own", "LNX 10,0,32,18", "WIN 10,0,32,18", "\u202e" * 256]
)
def test_what_says_nothing_is_not_known(text: str) -> None:
    assert read_platform(text) is None
