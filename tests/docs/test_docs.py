"""The code on the pages works: blocks run, commands parse, configurations resolve."""

import importlib
import re
import shlex
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import yaml

from holdfast.cli.arguments import parse
from holdfast.config import resolve
from holdfast.studies import Study
from holdfast.studies.plasticity import Diagnosing
from holdfast.studies.theory import Prediction

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")])

_BLOCK = re.compile(r"^```(\w+)(.*)\n((?:.*\n)*?)```$", re.MULTILINE)
_NUMBER = re.compile(r"-?\b(?:\d[\d,.]*(?:e[+-]?\d+)?|nan|inf)(?:\b|(?=\s|[])}]|$))")


class Block(NamedTuple):
    language: str
    title: str
    body: str
    line: int
    follows: bool  # right after the block before it
    needs: str  # the dataset it cannot run without


def blocks(page: Path) -> list[Block]:
    text, found, end = page.read_text(encoding="utf-8"), [], 0
    for match in _BLOCK.finditer(text):
        between = text[end : match.start()]
        title = re.search(r'title="([^"]+)"', match[2])
        needs = re.search(r"<!-- needs: (\w+) -->\s*\Z", between)
        line = text.count("\n", 0, match.start()) + 2
        found.append(
            Block(
                match[1],
                title[1] if title else "",
                match[3],
                line,
                not between.strip(),
                needs[1] if needs else "",
            )
        )
        end = match.end()
    return found


def words(output: str) -> list[str]:
    """Output with its numbers hidden, since these differ between machines."""
    return _NUMBER.sub("#", output).split()


def pages_with(*languages: str) -> list[Any]:
    return [
        pytest.param(page, id=str(page.relative_to(ROOT)))
        for page in PAGES
        if any(block.language in languages for block in blocks(page))
    ]


@pytest.mark.parametrize("page", pages_with("python"))
def test_blocks_run_and_give_the_output_shown(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("HOLDFAST_DATA", raising=False)
    monkeypatch.setenv("HOLDFAST_CACHE", str(tmp_path / "cache"))
    names: dict[str, Any] = {"__name__": "page"}
    printed: str | None = None
    for block in blocks(page):
        if block.title:
            Path(block.title).write_text(block.body, encoding="utf-8")
        if block.language == "python":
            printed = None
            if block.needs:
                continue
            # Empty lines before it, so that a traceback has the line of the page.
            source = "\n" * (block.line - 1) + block.body
            exec(compile(source, str(page), "exec"), names)
            printed = capsys.readouterr().out
        elif block.language == "text" and block.follows and printed is not None:
            assert words(printed) == words(block.body), f"{page}:{block.line}"
            printed = None


def commands(page: Path) -> list[list[str]]:
    lines = [
        line.removeprefix("$ ")
        for block in blocks(page)
        if block.language == "console"
        for line in block.body.splitlines()
        if line.startswith("$ ")
    ]
    prose = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    inline = re.findall(r"`(holdfast [a-z][^`]*)`", prose)
    found = []
    for line in [*lines, *inline]:
        first = shlex.split(line.partition("|")[0].partition("#")[0])
        while first and "=" in first[0]:
            first = first[1:]
        if first and first[0] == "holdfast":
            found.append(first[1:])
    return found


@pytest.mark.parametrize("page", [p for p in PAGES if commands(p)], ids=lambda p: p.stem)
def test_commands_parse(page):
    for command in commands(page):
        ends = "--version" in command or "--help" in command
        with pytest.raises(SystemExit, match=r"^0$") if ends else nullcontext():
            parse(command)


@pytest.mark.parametrize("page", pages_with("yaml"))
def test_configurations_resolve(page, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    for block in blocks(page):
        if block.title.endswith(".py"):
            (tmp_path / block.title).write_text(block.body, encoding="utf-8")
        if block.language == "yaml":
            config = yaml.safe_load(block.body)
            if "gamma0" in config:
                assert Prediction.from_config(config).problems()
            elif "old" in config:
                assert Diagnosing.from_config(config).seeds
            elif "base" in config:
                assert Study.from_config(config).cells()
            else:
                resolve(config)


def test_make_targets_exist():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        text = page.read_text(encoding="utf-8")
        assert set(re.findall(r"(?:\$ |`)make ([\w-]+)", text)) <= targets, page


ROOMS = sorted(p.parent.name for p in ROOT.glob("src/holdfast/*/__init__.py"))


@pytest.mark.parametrize("room", [room for room in ROOMS if room != "cli"])
def test_public_names_are_in_the_reference(room):
    module = importlib.import_module(f"holdfast.{room}")
    public = getattr(module, "__all__", None) or [
        name
        for name, value in vars(module).items()
        if name[0] != "_" and not isinstance(value, ModuleType)
    ]
    pages = "".join(p.read_text(encoding="utf-8") for p in ROOT.glob("docs/reference/*.md"))
    listed = re.findall(rf"^::: holdfast\.{room}\.(?:\w+\.)*(\w+)$", pages, re.MULTILINE)
    assert sorted(set(public) - set(listed)) == []
