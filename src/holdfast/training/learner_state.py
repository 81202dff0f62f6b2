"""What a checkpoint keeps of a learner."""

from holdfast.nets.learner import Learner
from holdfast.training.checkpoint import Tree


def learner_state(learner: Learner) -> Tree:
    """Its tensors, and the names of the parameters that are trained."""
    trained = [name for name, p in learner.named_parameters() if p.requires_grad]
    return {"tensors": learner.state_dict(), "trained": trained}


def load_learner_state(learner: Learner, state: Tree) -> None:
    """The inverse of `learner_state`, for a learner of the same structure.

    Raises:
        ValueError: it has another structure.
    """
    try:
        learner.load_state_dict(state["tensors"])
    except RuntimeError as error:
        raise ValueError(
            "learner is not the one the run began with; give one made as it was then, untrained: "
            f"{error}"
        ) from error
    for name, parameter in learner.named_parameters():
        parameter.requires_grad_(name in state["trained"])
