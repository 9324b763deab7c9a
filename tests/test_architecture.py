"""The house keeps its shape: who may import whom, what modules are called, what the documents promise."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers import ROOT

PACKAGES = ("protocols", "mediaserver", "control")
FILES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
#: A name that says nothing draws everything towards it.
FORBIDDEN_NAMES = {"manager", "utils", "util", "helpers", "helper", "common", "base", "core", "channel", "path", "info", "misc"}
#: What a wire format may not know: the time, the network, the loop, the log.
FORBIDDEN_IN_PROTOCOLS = {
    "asyncio",
    "socket",
    "ssl",
    "time",
    "threading",
    "logging",
    "random",
    "selectors",
    "subprocess",
}
#: A path or a note that means something to its writer alone.
WORDS_OF_THE_WORKSHOP = re.compile(r"/tmp/|/home/|\bTODO\b|\bFIXME\b|\bXXX\b")


def module(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            yield node.module or ""


@pytest.mark.parametrize("file", [file for file in FILES if file.is_relative_to(ROOT / "protocols")], ids=module)
def test_protocols_use_the_pure_part_of_the_standard_library_alone(file: Path) -> None:
    tops = {name.partition(".")[0] for name in imports(file)}
    assert tops <= sys.stdlib_module_names | {"protocols"}
    assert not tops & FORBIDDEN_IN_PROTOCOLS
    assert not re.search(r"\b(now|utcnow|today)\(\)", file.read_text("utf-8")), "a wire format is told the time"


def test_no_module_has_a_name_that_says_nothing() -> None:
    for file in FILES:
        assert not set(module(file).split(".")) & FORBIDDEN_NAMES, file


def test_no_class_has_a_name_that_says_nothing() -> None:
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                words = {word.lower() for word in re.findall(r"[A-Z][a-z]*", node.name)}
                assert not words & (FORBIDDEN_NAMES - {"base", "path", "info"}), f"{file}: {node.name}"


def test_no_module_is_named_like_one_of_the_standard_library_s() -> None:
    top_level = {module(file).split(".")[1] for file in FILES if module(file).count(".") == 1}
    assert not {name for name in PACKAGES if name in sys.stdlib_module_names}
    assert not top_level & {"logging", "socket", "ssl", "time", "types", "io"}


@pytest.mark.timeout(400)
def test_every_module_imports_alone() -> None:
    """A circular import shows only in a fresh interpreter, and only to whoever comes first."""
    names = [module(file) for file in FILES if not file.name.startswith("__main__")]
    # One interpreter with the libraries loaded, which forks for each module: as fresh for our own as one interpreter each.
    script = (
        "import importlib, os, sys, traceback\n"
        "import aiohttp.web, av, numpy, prometheus_client, pydantic\n"
        "failed = []\n"
        "for name in sys.argv[1:]:\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        try:\n"
        "            importlib.import_module(name)\n"
        "        except BaseException:\n"
        "            traceback.print_exc()\n"
        "            os._exit(1)\n"
        "        os._exit(0)\n"
        "    if os.waitpid(child, 0)[1]:\n"
        "        failed.append(name)\n"
        "sys.exit(' '.join(failed) or 0)\n"
    )
    result = subprocess.run([sys.executable, "-c", script, *names], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr


def test_only_edges_touch_sockets() -> None:
    # Lists of countries: none is opened, but half a million addresses are read the fast way.
    allowed = {"mediaserver.preflight", "mediaserver.ingest.testcard", "mediaserver.countries"}
    for file in FILES:
        name = module(file)
        if name.startswith(("mediaserver.transport", "mediaserver.delivery", "mediaserver.worker")) or name in allowed:
            continue
        assert "socket" not in {imported.partition(".")[0] for imported in imports(file)}, file


def test_nothing_that_ships_speaks_of_the_workshop() -> None:
    texts = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "config.toml", "Makefile", "Dockerfile")]
    for file in [*FILES, *texts]:
        assert not WORDS_OF_THE_WORKSHOP.search(file.read_text("utf-8")), file


def test_the_readme_s_make_commands_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for document in ("README.md", "ARCHITECTURE.md"):
        named = set(re.findall(r"\bmake ([a-z-]+)", code_of(document)))
        assert named <= targets, document
    assert {"run", "test", "lint", "bench", "fuzz"} <= targets


def test_the_readme_s_commands_and_settings_exist() -> None:
    manual = tomllib.loads((ROOT / "config.toml").read_text("utf-8"))
    text = (ROOT / "README.md").read_text("utf-8")
    for command in re.findall(r"-m mediaserver ([a-z]+)", text):
        assert command in {"serve", "demo", "doctor", "config", "recording"}
    for table, key in re.findall(r"MEDIASERVER__([A-Z]+)__([A-Z_]+)", text):
        assert key.lower() in manual[table.lower()]
    for table, key in re.findall(r"`(server|rtmp|http|auth|hls|limits)\.([a-z_]+)`", text):
        assert key in manual[table]


def test_the_documents_links_and_folders_exist() -> None:
    for document in ("README.md", "ARCHITECTURE.md"):
        text = (ROOT / document).read_text("utf-8")
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (ROOT / target).exists(), f"{document}: {target}"
        for name in re.findall(r"`((?:protocols|mediaserver|control|tests|bench)/[\w/.]*)`", text):
            assert (ROOT / name).exists(), f"{document}: {name}"


def test_ci_runs_the_readme_s_test_command() -> None:
    assert "make test" in (ROOT / ".ci" / "run").read_text("utf-8")
    assert "make test" in (ROOT / "README.md").read_text("utf-8")


def test_locks_hold_hashes_and_no_address() -> None:
    for lock in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / lock).read_text("utf-8")
        assert "://" not in text
        assert text.count("--hash=sha256:") > text.count("==")


def test_every_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    for lock, wanted in (
        ("requirements.lock", project["project"]["dependencies"]),
        ("requirements-dev.lock", project["project"]["dependencies"] + project["dependency-groups"]["dev"]),
    ):
        locked = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / lock).read_text("utf-8"), re.MULTILINE))
        for requirement in wanted:
            name = re.split(r"[^A-Za-z0-9_.-]", requirement)[0].lower().replace("_", "-")
            assert name in locked, f"{lock}: {name}; run make lock"


def code_of(document: str) -> str:
    """What stands in code in a document: fenced blocks and `words`."""
    text = (ROOT / document).read_text("utf-8")
    return "\n".join(re.findall(r"```.*?\n(.*?)```", text, re.DOTALL) + re.findall(r"`([^`\n]+)`", text))
