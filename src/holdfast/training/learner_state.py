"""What a checkpoint keeps of a learner."""

from holdfast.methods.method import Method
from holdfast.nets.learner import Learner
from holdfast.seeds import generator
from holdfast.streams.stream import Stream
from holdfast.training.checkpoint import Tree


def learner_state(learner: Learner) -> Tree:
    """Its tensors, and the names of the parameters that are trained."""
    trained = [name for name, p in learner.named_parameters() if p.requires_grad]
    return {"tensors": learner.state_dict(), "trained": trained}


def restore_learner(
    learner: Learner, method: Method, stream: Stream, state: Tree, seed: int
) -> None:
    """Bring a learner, and its method, from where a run began to where a checkpoint was taken.

    Args:
        learner: as the run began with it.
        method: likewise; it gives the learner the structure it had.
        stream: of the run.
        state: of the checkpoint.
        seed: of the run.

    Raises:
        ValueError: the learner has another structure.
    """
    met = state["position"]["index"] + state["position"]["open"]
    for i in range(met):
        learner.accommodate(i, stream[i], generator(seed, "head", i))
    method.load_state_dict(state["method"])
    if met:
        method.restore(learner, met - 1)
    _load_learner_state(learner, state["learner"])


def _load_learner_state(learner: Learner, state: Tree) -> None:
    try:
        learner.load_state_dict(state["tensors"])
    except RuntimeError as error:
        raise ValueError(
            "learner is not the one the run began with; give one made as it was then, untrained: "
            f"{error}"
        ) from error
    for name, parameter in learner.named_parameters():
        parameter.requires_grad_(name in state["trained"])
