"""The `holdfast` command: what it is asked, who does it, and the exit code."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module

import torch

from holdfast.cli.arguments import parse

WORK = {
    "run": "holdfast.cli.running",
    "resume": "holdfast.cli.resuming",
    "study": "holdfast.cli.studying",
    "tune-richness": "holdfast.cli.tuning",
    "theory": "holdfast.cli.theorizing",
    "diagnose": "holdfast.cli.diagnosing",
    "show": "holdfast.cli.showing",
    "data": "holdfast.cli.showing",
    "plot": "holdfast.cli.plotting",
}
"""The module that holds the function of each command; the others are not loaded."""

WRONG, INTERRUPTED, CLOSED = 2, 130, 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        the exit code: 0; 2 where the command or its input is wrong, with one line on stderr; 3
        where a run diverged, a study's run failed or a tuning found nothing; 130 after an
        interrupt (Ctrl-C); 141 where the reader of the output has gone.
    """
    try:
        args = parse(sys.argv[1:] if arguments is None else arguments)
        if os.getcwd() not in sys.path:
            # Where a person's own parts are looked for last, as `python -m` looks for them first.
            sys.path.append(os.getcwd())
        module = import_module(WORK[args.command])
        code: int = getattr(module, args.command.replace("-", "_"))(args)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Python flushes the output once more when it ends, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED
    except (ValueError, TypeError, OSError, ImportError, torch.OutOfMemoryError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            error.add_note("lower training.batch_size or training.evaluation_batch")
        print(_line("error: ", error), file=sys.stderr)
        return WRONG
    except KeyboardInterrupt as interrupt:
        print(_line("interrupted", interrupt), file=sys.stderr)
        return INTERRUPTED


def _line(what: str, error: BaseException) -> str:
    """One line: the error, and what was noted on it about how to go on."""
    text = "; ".join([what + str(error), *getattr(error, "__notes__", [])])
    return " ".join(f"holdfast: {text}".split())
