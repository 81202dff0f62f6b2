"""The learner that a run left in its folder."""

from pathlib import Path
from typing import Any

from torch import nn

from holdfast.config import fresh_learner, make_part, resolve
from holdfast.methods.method import Method
from holdfast.nets.learner import HeadKind, Learner, build_learner
from holdfast.streams.outline import hollow
from holdfast.streams.stream import Stream
from holdfast.training.checkpoint import FILE, Tree, load_checkpoint
from holdfast.training.learner_state import restore_learner


def load_learner(
    folder: str | Path,
    learner: Learner | nn.Module | None = None,
    method: Method | None = None,
    heads: HeadKind = "auto",
) -> Learner:
    """The learner of a run's folder as its last checkpoint has it, in evaluation mode on the CPU.

    Of a complete run that is the trained learner; of one that was cut short, or diverged, it is
    the learner of the last checkpoint. No data is read and nothing is trained: the checkpoint
    knows the shapes and classes of the stream. Nothing is unpickled, but parts that the
    configuration names by import path are imported.

    Args:
        folder: of the run.
        learner: for a run made of Python objects: a learner or backbone made as the run's was at
            first, untrained. It is changed in place and returned where it lies.
        method: of such a run, made anew, if it changes the structure of the learner.
        heads: of such a run, if `learner` is a bare backbone; as given to `holdfast.run`.

    Raises:
        FileNotFoundError: the folder holds no run, or the run has no checkpoint yet.
        ValueError: the checkpoint is damaged, the run was made of Python objects and `learner` is
            not given, or it is not the run's.
    """
    folder = Path(folder)
    state = _checkpoint(folder)
    config, stream = state["record"]["config"], hollow(state["stream"])
    seed: int = state["record"]["seed"]
    if "net" in config:
        if learner is not None or method is not None:
            raise ValueError(
                f"the run in {folder} came from a configuration, which names its learner and "
                "method; leave them out"
            )
        # All else that it names need not be there any more.
        kept = ("net", "heads", "richness", "method", "seed")
        named = resolve({"stream": "split", **{k: config[k] for k in kept if k in config}})
        learner = fresh_learner(named, stream)
        restore_learner(learner, make_part("method", named["method"]), stream, state, seed)
        return learner.eval()
    if learner is None:
        raise ValueError(
            f"the run in {folder} was made of Python objects; give its learner, made as it was "
            "then and untrained: load_learner(folder, learner=...)"
        )
    if not isinstance(learner, Learner):
        learner = build_learner(learner, stream, heads, seed)
    _restore_given(learner, method, stream, state, config)
    return learner.eval()


def _checkpoint(folder: Path) -> Tree:
    if (folder / FILE).is_file():
        return load_checkpoint(folder / FILE)
    if (folder / "config.yaml").is_file():
        raise FileNotFoundError(
            f"the run in {folder} has no checkpoint yet; go on with it: holdfast.resume(folder)"
        )
    if (folder / "study.yaml").is_file():
        raise FileNotFoundError(
            f"{folder} holds a study; give the folder of one of its runs, which are in "
            f"{folder / 'runs'}"
        )
    raise FileNotFoundError(f"{folder} holds no run: there is no {FILE} in it")


def _restore_given(
    learner: Learner, method: Method | None, stream: Stream, state: Tree, config: dict[str, Any]
) -> None:
    """Restore a learner that was made in Python, after a look at whether it can be the run's."""
    # What no tensor holds, such as a multiplier, shows in what the layers print.
    if "learner" in config and repr(learner).splitlines() != config["learner"]:
        raise ValueError(
            "learner is not the one the run began with, which config.yaml shows; give one made as "
            f"it was then, untrained; got {learner!r}"
        )
    known = config.get("method", {}).get("class")
    given = f"{type(method).__module__}:{type(method).__qualname__}"
    if method is not None and known not in (None, given):
        raise ValueError(f"method is a {given}, that of the run was a {known}")
    seed = state["record"]["seed"]
    try:
        restore_learner(learner, Method() if method is None else method, stream, state, seed)
    except ValueError as error:
        if method is not None:
            raise
        raise ValueError(
            f"{error}; if the run's method, {known}, changes the structure of the learner, give "
            "one too: load_learner(folder, learner, method)"
        ) from error
