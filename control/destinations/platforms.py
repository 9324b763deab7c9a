"""Platforms that people know by name, and the address that each one's help pages give for RTMP."""

from collections.abc import Mapping

#: Empty where the platform gives every user an address of their own.
ADDRESSES: Mapping[str, str] = {
    "youtube": "rtmp://a.rtmp.youtube.com/live2/",
    "twitch": "rtmp://live.twitch.tv/app/",
    "facebook": "rtmps://live-api-s.facebook.com:443/rtmp/",
    "linkedin": "",
    "kick": "",
    "x": "",
    "custom": "",
}


def target_url(rtmp_url: str, stream_key: str) -> str:
    """Address and key as one URL. Some people paste the key into the address already, and give none."""
    return f"{rtmp_url.rstrip('/')}/{stream_key}" if stream_key else rtmp_url
