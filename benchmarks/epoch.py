"""Plain training against the loop anyone would write over tensors."""

from benchmarks import bare
from benchmarks.timing import Comparison, compare
from benchmarks.work import one_task
from holdfast.training.options import Training
from holdfast.training.run import run


def plain_epochs(repetitions: int) -> Comparison:
    """Five epochs with Holdfast's metrics on, its set-up included, over a bare loop without any."""
    x, y = bare.samples(bare.ROWS)
    stream = one_task(x, y)
    training = Training(bare.EPOCHS, bare.BATCH, lr=bare.LR, device="cpu")

    def ours() -> None:
        run(stream, bare.backbone(), training=training)

    return compare(ours, lambda: bare.plain_epochs(x, y), repetitions)
