"""What the command line says: the command, its options, and keys of a configuration to set."""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn

from holdfast import __version__
from holdfast.signatures import nearest
from holdfast.yaml_text import parse_yaml

SETTABLE = ("run", "study", "tune-richness", "theory", "diagnose")
"""The commands that take a configuration, and settings of its keys."""

_SETTING = "Any other option sets a key of the configuration: "
"""How the settings are explained; an example for the command at hand follows."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}; see `{self.prog} --help`")


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The command line as a namespace: ``command``, its options, and ``settings``.

    Settings are pairs of dotted key and value, from ``--a.b value`` and ``--a.b=value``; values
    are read as YAML. Of the commands `SETTABLE` they may stand anywhere behind the command.

    Raises:
        ValueError: an unknown command or option (with the nearest known one), a missing value.
        SystemExit: help or the version was asked for, and printed.
    """
    parser, options = _parser()
    words = list(words)
    settings: list[tuple[str, Any]] = []
    place = next((i for i, word in enumerate(words) if not word.startswith("-")), len(words))
    if place < len(words):
        command, (before, behind) = words[place], (words[:place], words[place + 1 :])
        if command not in options:
            raise ValueError(
                f"unknown command {command!r}{nearest(command, options)}; "
                f"the commands are {', '.join(options)}"
            )
        if command in SETTABLE:
            behind, settings = _settings(behind, options[command])
        words = [*before, command, *behind]
    args, unknown = parser.parse_known_args(words)
    if unknown:
        known = options[args.command]
        raise ValueError(f"unknown argument {unknown[0]!r}{nearest(unknown[0], known)}")
    args.settings = settings
    args.options = [name for name in options[args.command] if name.startswith("--")]
    return args


def _parser() -> tuple[argparse.ArgumentParser, dict[str, dict[str, bool]]]:
    """The parser, and the options of each command with whether they take a value."""
    parser = _Parser(
        prog="holdfast",
        description="Continual learning, by where a network starts and how far it moves.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"holdfast {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    options: dict[str, dict[str, bool]] = {}

    def add(name: str, text: str, epilog: str | None = None) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name, help=text, description=text, epilog=epilog, allow_abbrev=False
        )
        options[name] = {"-h": False, "--help": False}
        option(command, name, "--json", action="store_true", help="print JSON, for programs")
        return command

    def option(command: argparse.ArgumentParser, of: str, name: str, **more: Any) -> None:
        action = command.add_argument(name, **more)
        options[of][name] = action.nargs != 0

    command = add("run", "Run a configuration.", f"{_SETTING}--training.lr 0.1, --method ewc.")
    command.add_argument("config", help="YAML file, or the name of a shipped configuration")
    option(command, "run", "--out", help="folder of the run; by default runs/NAME-HASH")
    command = add("resume", "Go on with a run or anything else below that was stopped.")
    command.add_argument("folder", help="that it writes to")
    kinds = "of a run, study, tuning or prediction"
    command = add("show", "What runs, studies, tunings and predictions found, as text.")
    command.add_argument("folders", nargs="+", metavar="folder", help=kinds)
    command = add("plot", "Figures of runs, studies, tunings or predictions, as PNG and SVG.")
    command.add_argument("folders", nargs="+", metavar="folder", help=kinds)
    option(command, "plot", "--out", help="folder of the figures; by default FOLDER/figures")
    example = f"{_SETTING}--base.training.lr 0.1, --seeds 10."
    command = add("study", "Run a study: a configuration over a grid.", example)
    command.add_argument("config", nargs="?", help="YAML file, or the name of a shipped study")
    option(command, "study", "--list", action="store_true", help="list the shipped studies")
    option(command, "study", "--size", help="of a shipped study: cpu (the default) or paper")
    option(command, "study", "--out", help="folder of the study; by default runs/NAME")
    workers = "number of processes; by default one a core"
    option(command, "study", "--workers", type=int, help=workers)
    _add_tuning(add, option)
    example = f"{_SETTING}--gamma0 [0.1,1], --compare.seeds 20."
    command = add("theory", "Predict what networks of infinite width forget.", example)
    command.add_argument("config", nargs="?", help="YAML file, or the name of a shipped one")
    option(command, "theory", "--list", action="store_true", help="list the shipped ones")
    option(command, "theory", "--size", help="of a shipped one: cpu (the default) or paper")
    option(command, "theory", "--out", help="folder of it all; by default runs/NAME")
    example = f"{_SETTING}--old 0.8, --training.lr 0.01, --seeds 10."
    command = add("diagnose", "What does carrying on from old weights cost?", example)
    command.add_argument(
        "config", nargs="?", help="YAML file, or the name of a shipped one; by default digits"
    )
    option(command, "diagnose", "--list", action="store_true", help="list the shipped ones")
    option(command, "diagnose", "--size", help="of a shipped one that has several")
    option(command, "diagnose", "--out", help="folder of it all; by default runs/NAME")
    command = add("data", "List the datasets that can be loaded here.")
    command.add_argument("action", choices=["list"], help="the one thing to do with data")
    return parser, options


def _add_tuning(add: Callable[..., argparse.ArgumentParser], option: Callable[..., None]) -> None:
    """Add `tune-richness`."""
    name = "tune-richness"
    text = "Find the richness gamma0 of a net on a narrow copy of it."
    command = add(name, text, f"{_SETTING}--training.lr 10, --net.depth 9.")
    command.add_argument("config", help="YAML file of a run")
    add_option = partial(option, command, name)
    add_option("--width", type=int, help="of the narrow copy; by default 64")
    add_option("--target-width", type=int, help="of the net wanted; by default its net.width")
    add_option("--gamma0", help="values to try, parted by commas; by default 8 from 0.01 to 1.8")
    add_option("--seeds", type=int, help="number of seeds; by default 3")
    add_option("--neighbours", type=int, help="run at the target on either side; by default 1")
    metrics = ["ae", "average_loss"]
    add_option("--metric", choices=metrics, help="what is to be small; by default ae")
    add_option("--standard-lr", help="learning rates to run the plain net at, parted by commas")
    add_option("--verify", action="store_true", help="run the whole grid at the target too")
    add_option("--out", help="folder of it all; by default runs/NAME-gamma0-HASH")
    add_option("--workers", type=int, help="number of processes; by default one a core")


def _settings(
    words: Sequence[str], options: dict[str, bool]
) -> tuple[list[str], list[tuple[str, Any]]]:
    """The words that are the command's own, and the settings among them."""
    own: list[str] = []
    settings: list[tuple[str, Any]] = []
    left = list(words)
    while left:
        word = left.pop(0)
        name, equals, value = word.partition("=")
        known = name in options
        takes = options.get(name, True)
        if not word.startswith("--") or word == "--" or not takes:
            own.append(word)
            continue
        if not equals:
            if not left or left[0].startswith("--"):
                raise ValueError(f"{word} needs a value")
            value = left.pop(0)
        if known:
            own.append(f"{name}={value}")
            continue
        try:
            settings.append((name[2:], parse_yaml(value)))
        except ValueError as error:
            raise ValueError(f"{name} {value!r} is no YAML: {error}") from error
    return own, settings
