"""Epochs with EWC and DER++ over bare loops of the same mathematics."""

from benchmarks import bare
from benchmarks.timing import Comparison, compare
from benchmarks.work import one_task
from holdfast.methods.derpp import DERpp
from holdfast.methods.ewc import EWC
from holdfast.nets.learner import Learner
from holdfast.streams.context import Context
from holdfast.training.options import Training
from holdfast.training.run import run

TRAINING = Training(bare.METHOD_EPOCHS, bare.BATCH, lr=bare.LR, device="cpu")


class _Held(EWC):
    """EWC that does not add the task: the epochs alone are timed."""

    def end_task(self, learner: Learner, context: Context) -> None:
        pass


def ewc(repetitions: int) -> Comparison:
    """Epochs under the penalty of one earlier task, its Fisher given to both sides."""
    x, y = bare.samples(bare.ROWS)
    stream = one_task(x, y)
    first = EWC(strength=bare.STRENGTH)
    run(stream, bare.backbone(), first, Training(1, bare.BATCH, lr=bare.LR, device="cpu"))
    springs = first.state_dict()

    def ours() -> None:
        method = _Held(strength=bare.STRENGTH)
        method.load_state_dict(springs)
        run(stream, bare.backbone(), method, TRAINING)

    return compare(ours, lambda: bare.ewc(x, y), repetitions)


def derpp(repetitions: int) -> Comparison:
    """Epochs of DER++ with a memory of 500, from empty."""
    x, y = bare.samples(bare.ROWS)
    stream = one_task(x, y)

    def ours() -> None:
        method = DERpp(memory=bare.MEMORY, alpha=bare.ALPHA, beta=bare.BETA)
        run(stream, bare.backbone(), method, TRAINING)

    return compare(ours, lambda: bare.derpp(x, y), repetitions)
