"""The configuration a command is given."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from holdfast.cli.shipped import shipped
from holdfast.config import KEYS, Config, override, read_config
from holdfast.signatures import nearest


def configuration(args: Namespace) -> Config:
    """The configuration of a file, or a shipped one, with the settings of the command line.

    Raises:
        FileNotFoundError: there is neither such a file nor such a name.
        ValueError: the file holds no configuration, or has no sizes.
    """
    path, known = Path(args.config), shipped(args.command)
    size: str | None = getattr(args, "size", None)
    if path.is_file():
        if size is not None:
            raise ValueError(f"--size is of studies that come with Holdfast; {path} is a file")
    elif args.config in known:
        path = known[args.config].file(size)
    else:
        raise FileNotFoundError(
            f"no configuration at {path}{nearest(args.config, known)}; "
            f"give a YAML file, or the name of a shipped one: {', '.join(known)}"
        )
    config = read_config(path)
    for key, value in args.settings:
        override(config, key, value)
    return config


def check_settings(args: Namespace, keys: Sequence[str]) -> None:
    """Refuse options that are neither the command's nor keys of its configuration.

    Raises:
        ValueError: with the nearest known one.
    """
    for key, _ in args.settings:
        head = key.partition(".")[0]
        if head in keys:
            continue
        known = [f"--{k}" for k in keys]
        near = nearest(f"--{head}", [*args.options, *known])
        if head in KEYS and "base" in keys:
            near = f" (did you mean '--base.{key}'?)"
        raise ValueError(
            f"unknown option --{key}{near}; there are {', '.join(args.options)}, and for the keys "
            f"of the configuration {', '.join(known)}"
        )
