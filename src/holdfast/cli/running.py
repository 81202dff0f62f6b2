"""`holdfast run`."""

from argparse import Namespace
from pathlib import Path

from holdfast.cli.configuring import check_settings, configuration
from holdfast.cli.ending import ended
from holdfast.cli.progress import RunLines, Telling
from holdfast.config import KEYS, resolve, run_config
from holdfast.training.run import fingerprint


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
    return ended(args, record, out)
