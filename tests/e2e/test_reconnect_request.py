"""The server is stopped in favour of the next one: who understands Enhanced RTMP's Reconnect Request comes back to that."""

import contextlib
import signal

from protocols.rtmp.enhanced import server_capabilities
from protocols.rtmp.events import Event, ReconnectRequested, StatusReceived
from tests.conftest import Serve
from tests.e2e.rtmp import RtmpClient, is_keyframe, tags_of, until
from tests.media import Clips

REQUEST = "NetConnection.Connect.ReconnectRequest"


def words(events: list[Event]) -> list[str]:
    """The codes of what was said, in its order, each once."""
    codes = (
        REQUEST if isinstance(event, ReconnectRequested) else event.code
        for event in events
        if isinstance(event, ReconnectRequested | StatusReceived)
    )
    return list(dict.fromkeys(codes))


def test_sigterm_asks_those_who_understand_it_to_reconnect(serve: Serve, clips: Clips) -> None:
    server = serve()
    tags = until(tags_of(clips.get(b_frames=0)), 2000)
    understands = server_capabilities()
    with contextlib.ExitStack() as stack:

        def client(name: str, properties: dict[str, object] | None = None) -> RtmpClient:
            return stack.enter_context(RtmpClient(server.rtmp(name), properties=properties))

        encoder, plain_encoder = client("show", understands).publish(), client("plain").publish()
        encoder.send(tags)
        plain_encoder.send(tags)
        server.wait_live("show")
        player, plain_player = client("show", {"capsEx": 1.0}).play(), client("show").play()
        for each in (player, plain_player):
            each.wait_for(lambda each=each: any(map(is_keyframe, each.media)), "a picture")
        server.process.signal(signal.SIGTERM)
        everybody = (encoder, plain_encoder, player, plain_player)
        for each in everybody:
            each.wait_closed()
        goodbye = ["NetStream.Play.UnpublishNotify", "NetStream.Play.Stop"]
        assert words(encoder.events)[1:] == [REQUEST, "NetStream.Unpublish.Success"]
        assert words(plain_encoder.events)[1:] == ["NetStream.Publish.Rejected"]
        assert words(player.events)[-3:] == [REQUEST, *goodbye]
        assert words(plain_player.events)[-2:] == goodbye
        assert REQUEST not in words(plain_player.events)
        assert {
            (each.tc_url, each.description) for one in everybody for each in one.events if isinstance(each, ReconnectRequested)
        } == {("", "the server is stopping")}
        assert server.process.wait() == 0
    server.start()
    server.wait_ready()
    with RtmpClient(server.rtmp("show"), properties=understands).publish() as returned:
        returned.send(tags)
        server.wait_live("show")
