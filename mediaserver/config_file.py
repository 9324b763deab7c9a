"""How values are written down: a TOML file, and variables that hold a value as the file does, or plainly. And how they are told
back."""

import re
import tomllib
from bisect import bisect_left
from collections.abc import Mapping
from pathlib import Path

#: Characters of a wrong value that are told back.
_MOST_SHOWN = 200


class ConfigError(Exception):
    """The configuration cannot be used. Each of ``problems`` names file or variable, key, value and what is allowed."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


def read(file: Path) -> dict[str, object]:
    """What stands in ``file``. Raises ConfigError where that is no TOML."""
    try:
        # Some editors put a byte order mark in front.
        text = file.read_text("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError([f"{file}: there is no such file"]) from None
    except OSError as error:
        raise ConfigError([f"{file}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        raise ConfigError([f"{file}: byte {error.start} is not UTF-8; a TOML file is UTF-8 text"]) from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{file}: is not valid TOML: {error}"]) from None
    except ValueError:
        raise ConfigError([f"{file}: line {_first_bad(text)}: a number has too many digits"]) from None
    except RecursionError:
        raise ConfigError([f"{file}: line {_first_bad(text)}: lists or tables stand too deep in one another"]) from None


def _first_bad(text: str) -> int:
    """The line by which tomllib fails, where it does not say so itself."""
    lines = text.splitlines(keepends=True)

    def fails(count: int) -> bool:
        try:
            tomllib.loads("".join(lines[:count]))
        except tomllib.TOMLDecodeError:
            return False  # a list that goes on in the next line
        except (ValueError, RecursionError):
            return True
        return False

    return bisect_left(range(len(lines)), True, key=fails)


def from_text(text: str, default: object) -> object:
    """A variable's text as a value of the default's type; the text itself where it is none (validation will say so)."""
    match default:
        case bool():
            return {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)
        case int() | float():
            try:
                return type(default)(text)
            except ValueError:
                return text
        case tuple():
            return _of_file(text) if text.lstrip().startswith("[") else [part.strip() for part in text.split(",") if part.strip()]
        case Mapping():
            return _table_from_text(text)
        case _:
            return text


def _of_file(text: str) -> object:
    """A value in the file's own words; the text itself where it is none."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def _table_from_text(text: str) -> object:
    """A table as the file has it, ``{ one = "1" }``, or ``one=1,two=2``."""
    if text.lstrip().startswith("{"):
        return _of_file(text)
    pairs = (part.partition("=") for part in text.split(",") if part.strip())
    return {name.strip(): value.strip().strip('"') for name, _, value in pairs}


def shown(value: object) -> str:
    """A value as it was given, without what may be a password in it, cut off where it is long."""
    try:
        text = repr(_open(value))
    except (ValueError, RecursionError):  # a number of thousands of digits, a list a thousand deep
        return "that value"
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def _open(value: object) -> object:
    """``value`` without what stands before the host of an address, and behind its path."""
    match value:
        case str() if not re.match(r"\.{0,2}/(?!/)", value):  # as paths begin
            before, at, rest = value.rpartition("@")
            scheme, mark, _ = before.partition("://")
            path, query, _ = rest.partition("?") if "://" in value else (rest, "", "")
            return (f"{scheme}{mark}…" if mark else "…" if at else "") + f"{at}{path}" + (f"{query}…" if query else "")
        case list() | tuple():
            return [_open(each) for each in value]
        case dict():
            return {_open(key): _open(each) for key, each in value.items()}
    return value
