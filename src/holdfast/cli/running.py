"""`holdfast run` and `holdfast resume`."""

from argparse import Namespace
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from holdfast.cli.progress import RunLines, Telling
from holdfast.config import KEYS, Config, override, read_config, resolve, run_config
from holdfast.config import resume as resume_run
from holdfast.records.record import Record
from holdfast.records.strict_json import dumps
from holdfast.signatures import nearest
from holdfast.training.run import fingerprint

DIVERGED = 3
"""Exit code of a run that diverged."""


def run(args: Namespace) -> int:
    """Run a configuration."""
    config = configuration(args)
    if "base" in config:
        raise ValueError(f"{args.config} is a study; use `holdfast study {args.config}`")
    check_settings(args, KEYS)
    config = resolve(config)
    name = f"{Path(args.config).stem}-{fingerprint(config)[:8]}"
    out = Path(args.out or Path("runs") / name)
    with Telling(out, quiet=args.json) as telling:
        lines = RunLines(telling, config["training"]["epochs"])
        record = run_config(config, out, listener=lines)
    return _ended(args, record, out)


def resume(args: Namespace) -> int:
    """Go on with a run or a study."""
    folder = Path(args.folder)
    if (folder / "study.yaml").is_file():
        # Loads what draws figures, which a run does without.
        from holdfast.cli.studying import resume_study

        return resume_study(args, folder)
    tasks, epochs = _known(folder)
    with Telling(folder, quiet=args.json) as telling:
        record = resume_run(folder, listener=RunLines(telling, epochs, tasks))
        if not telling.begun:
            telling.line("it had ended: nothing was left to do")
    return _ended(args, record, folder)


def configuration(args: Namespace) -> Config:
    """The configuration of a file, or a shipped one, with the settings of the command line.

    Raises:
        FileNotFoundError: there is neither such a file nor such a name.
        ValueError: the file holds no configuration.
    """
    path = Path(args.config)
    folder = files("holdfast") / "configs"
    shipped = sorted(p.name.removesuffix(".yaml") for p in folder.iterdir())
    if path.is_file() or args.config not in shipped:
        if not path.is_file():
            raise FileNotFoundError(
                f"no configuration at {path}{nearest(args.config, shipped)}; "
                f"give a YAML file, or the name of a shipped one: {', '.join(shipped)}"
            )
        config = read_config(path)
    else:
        config = read_config(Path(str(folder / f"{args.config}.yaml")))
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
        if head in KEYS:
            near = f" (did you mean '--base.{key}'?)"
        raise ValueError(
            f"unknown option --{key}{near}; there are {', '.join(args.options)}, and for the keys "
            f"of the configuration {', '.join(known)}"
        )


def digest(record: Record) -> dict[str, Any]:
    """What programs want to know of a run."""
    return {
        "status": record.status,
        "diverged": record.diverged,
        "scenario": record.scenario,
        "seed": record.seed,
        "tasks": list(record.tasks),
        "accuracy": record.accuracy.tolist(),
        "loss": record.loss.tolist(),
        "metrics": record.metrics(),
        "seconds": sum(record.seconds),
        "cpu_seconds": sum(record.cpu_seconds),
        "digest": record.digest(),
    }


def _known(folder: Path) -> tuple[Sequence[str], int]:
    """Names of the tasks and epochs of each, as far as the folder tells."""
    try:
        record = Record.load(folder)
    except (OSError, ValueError):
        return (), 0
    return record.tasks, record.config.get("training", {}).get("epochs", 0)


def _ended(args: Namespace, record: Record, out: Path) -> int:
    if args.json:
        print(dumps({"out": str(out), **digest(record)}))
    else:
        print(f"\n{record.summary()}\nkept in {out}")
    return DIVERGED if record.status == "diverged" else 0
