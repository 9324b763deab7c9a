"""The pages' HTML and files, and the headers that they come with."""

import gzip
import hashlib
import re
import string
from html.parser import HTMLParser
from pathlib import Path

import pytest
from pydantic import SecretStr

import control.web
from control.web.assets import Assets
from control.web.pages import error_page
from mediaserver.config import AuthConfig, Config, RtmpConfig, ServerConfig
from mediaserver.ports import objection_to
from protocols.mp4.sample_entry import CARRIED
from tests.control.conftest import Client, Connect

ROOT = Path(__file__).parents[2]
VENDOR = Path(control.web.__file__).parent / "static" / "vendor"


class Links(HTMLParser):
    """Everything that a page loads, and what a strict policy would refuse."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.inline: list[str] = []
        self.body: dict[str, str | None] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "body":
            self.body = given
        if tag in ("script", "img", "link"):
            self.loads.append(given.get("src") or given.get("href") or "")
        self.inline += [name for name in given if name == "style" or name.startswith("on")]
        if tag == "style" or (tag == "script" and not given.get("src")):
            self.inline.append(tag)


@pytest.mark.parametrize("path", ["/", "/watch/demo", "/nothing/here"])
async def test_a_page_loads_only_own_files_and_holds_nothing_inline(client: Client, path: str) -> None:
    answer = await client.get(path)
    page = Links(await answer.text())
    assert page.inline == []
    assert page.loads
    for url in page.loads:
        assert url.startswith("/static/web/")
        assert (await client.get(url)).status == 200


@pytest.mark.parametrize(("path", "ancestors"), [("/", "'none'"), ("/watch/demo", "*"), ("/nothing/here", "'none'")])
async def test_pages_forbid_foreign_scripts_and_only_the_player_may_be_embedded(
    client: Client, path: str, ancestors: str
) -> None:
    headers = (await client.get(path)).headers
    policy = dict(part.strip().partition(" ")[::2] for part in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == ancestors
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "aiohttp" not in headers["Server"]


async def test_a_page_exists_for_a_name_that_is_not_live_yet(client: Client) -> None:
    answer = await client.get("/watch/to-come")
    assert answer.status == 200
    assert Links(await answer.text()).body["data-name"] == "to-come"


@pytest.mark.parametrize("name", ["%3Cscript%3Ealert(1)%3C%2Fscript%3E", "..%2F..%2Fetc", "a%00b", "%E2%80%AEevil", "x" * 200])
async def test_what_can_be_no_name_is_404_and_not_repeated(client: Client, name: str) -> None:
    answer = await client.get(f"/watch/{name}")
    assert answer.status == 404
    text = await answer.text()
    assert "alert" not in text
    assert "evil" not in text
    assert "xxx" not in text


def test_words_in_a_page_are_escaped() -> None:
    assert "<b>" not in error_page(404, '<b onclick="x">')


async def test_errors_are_json_for_programs_and_a_page_for_people(client: Client) -> None:
    answer = await client.get("/api/no-such-thing")
    assert (answer.status, answer.content_type) == (404, "application/json")
    assert set((await answer.json())["error"]) == {"code", "message", "details", "timestamp", "requestId"}
    answer = await client.get("/no-such-thing")
    assert (answer.status, answer.content_type) == (404, "text/html")
    answer = await client.post("/api/live")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET,HEAD")
    assert (await answer.json())["error"]["code"] == "METHOD_NOT_ALLOWED"


async def test_the_page_knows_where_to_push(connect: Connect) -> None:
    client = await connect(Config(rtmp=RtmpConfig(port=2935, app="studio"), server=ServerConfig(public_url="https://tv.example")))
    body = Links(await (await client.get("/")).text()).body
    assert (body["data-rtmp-port"], body["data-rtmp-app"]) == ("2935", "studio")
    assert body["data-public-url"] == "https://tv.example"


async def test_the_page_names_the_characters_that_a_name_may_have(client: Client) -> None:
    hint = re.search(r'id="name-hint">Letters, digits and <code>([^<]+)</code>', await (await client.get("/")).text())
    assert hint is not None
    allowed = {character for character in string.punctuation if not objection_to(f"a{character}")}
    assert set(hint[1].split()) == allowed


def test_the_line_for_ffmpeg_is_the_same_wherever_it_is_told() -> None:
    (line,) = re.findall(r"^ffmpeg -re (.+) -f flv rtmp://", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    assert f'file: "{line}",' in (VENDOR.parent / "home.js").read_text("utf-8")
    assert f"ffmpeg -re {line} -f flv {{server}}/" in (ROOT / "mediaserver" / "cli.py").read_text("utf-8")


async def test_the_first_page_leads_to_the_description_of_the_api(client: Client) -> None:
    assert re.findall(r'<nav [^>]*><a href="/api/docs">API</a>', await (await client.get("/")).text())


async def test_no_page_holds_a_stream_key(connect: Connect) -> None:
    client = await connect(Config(auth=AuthConfig(publish="keys", stream_keys={"demo": SecretStr("canary-key-4711")})))
    for path in ("/", "/watch/demo", "/api/live", "/metrics"):
        assert "canary-key" not in await (await client.get(path)).text()


async def test_files_are_for_ever_under_their_version_and_short_lived_without_it(client: Client) -> None:
    url = next(u for u in Links(await (await client.get("/")).text()).loads if u.endswith("home.js"))
    versioned = await client.get(url)
    assert "immutable" in versioned.headers["Cache-Control"]
    plain = await client.get("/static/web/home.js")
    assert "immutable" not in plain.headers["Cache-Control"]
    assert await plain.read() == await versioned.read()
    stale = await client.get("/static/web/000000000000/home.js")
    assert stale.status == 404


async def test_a_file_that_did_not_change_is_not_sent_again(client: Client) -> None:
    first = await client.get("/static/web/app.css")
    again = await client.get("/static/web/app.css", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, await again.read()) == (304, b"")


async def test_files_are_compressed_for_who_can_read_it(client: Client) -> None:
    plain = await client.get("/static/web/app.css", headers={"Accept-Encoding": "identity"})
    packed = await client.get("/static/web/app.css", headers={"Accept-Encoding": "gzip, br"})
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(await packed.read()) == await plain.read()
    assert plain.headers["Vary"] == packed.headers["Vary"] == "Accept-Encoding"


@pytest.mark.parametrize(
    "path", ["../pages.py", "%2e%2e/pages.py", "..%2fpages.py", "vendor", "vendor/", "/etc/passwd", "app.css%00.js"]
)
async def test_nothing_outside_the_table_of_files_can_be_had(client: Client, path: str) -> None:
    assert (await client.get(f"/static/web/{path}")).status == 404


def test_the_version_changes_with_any_file(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text("1")
    before = Assets(tmp_path).version
    assert Assets(tmp_path).version == before
    (tmp_path / "a.js").write_text("2")
    assert Assets(tmp_path).version != before


def test_vendored_files_are_what_their_list_says() -> None:
    rows = re.findall(r"^\| (\S+\.(?:mjs|js|css)) \|.*\| ([0-9a-f]{64}) \|$", (VENDOR / "VERSIONS.md").read_text(), re.MULTILINE)
    assert {name for name, _ in rows} == {file.name for file in VENDOR.iterdir() if file.suffix in (".mjs", ".js", ".css")}
    for name, digest in rows:
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest
        assert (VENDOR / f"{name.partition('.')[0]}.LICENSE.txt").stat().st_size > 500


async def test_the_icon_is_found_by_its_old_name(client: Client) -> None:
    answer = await client.get("/favicon.ico", allow_redirects=True)
    assert (answer.status, answer.content_type) == (200, "image/svg+xml")


def test_the_page_knows_what_hls_and_dash_can_carry() -> None:
    script = (VENDOR.parent / "page.js").read_text("utf-8")
    (listed,) = re.findall(r"const CARRIED = new Set\(\[(.*?)\]\)", script, re.DOTALL)
    assert set(re.findall(r'"(\w+)"', listed)) == {codec.value for codec in CARRIED}
