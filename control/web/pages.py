"""HTML of the pages: templates with a few words filled in, each escaped."""

import html
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from control.web.assets import Assets
    from mediaserver.config import Config

_FOLDER = Path(__file__).parent / "templates"


def _template(name: str) -> Template:
    return Template((_FOLDER / name).read_text("utf-8"))


_ERROR = _template("error.html")
_DOCS = _template("docs.html")


class Pages:
    """The pages of one server. What depends on the visitor (the host he came by) is filled in by the page's own script."""

    def __init__(self, config: "Config", assets: "Assets") -> None:
        self._words = {
            "style": assets.url("app.css"),
            "icon": assets.url("icon.svg"),
            "home_script": assets.url("home.js"),
            "watch_script": assets.url("watch.js"),
            "rtmp_port": str(config.rtmp.port),
            "rtmps_port": str(config.rtmp.tls_port),
            "rtmp_app": config.rtmp.app,
            "publish": config.auth.publish,
            "public_url": config.server.public_url,
            "dvr": str(config.hls.dvr),
        }
        self._home = _fill(_template("home.html"), self._words)
        self._watch = _template("watch.html")

    def home(self) -> str:
        return self._home

    def watch(self, name: str, title: str) -> str:
        return _fill(self._watch, self._words | {"name": name, "title": title})


def docs_page(assets: "Assets") -> str:
    """The page of the API's description."""
    words = {
        "icon": assets.url("icon.svg"),
        "ui_style": assets.url("vendor/swagger-ui.css"),
        "ui_script": assets.url("vendor/swagger-ui.js"),
        "docs_script": assets.url("docs.js"),
    }
    return _fill(_DOCS, words)


def error_page(status: int, message: str) -> str:
    """A page that stands alone: it must show even where nothing else can be loaded."""
    return _fill(_ERROR, {"status": str(status), "message": message})


def _fill(template: Template, words: dict[str, str]) -> str:
    return template.substitute({key: html.escape(value) for key, value in words.items()})
