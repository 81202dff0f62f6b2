from collections import Counter

import pytest
import torch
from tiny_loop import TinyLoop, make_learner, make_stream, same, tensors

from holdfast.methods import Finetune, Joint, Replay
from holdfast.streams.batches import Batch


def test_first_task_is_plain_training() -> None:
    stream = make_stream(tasks=1)
    plain = TinyLoop(Finetune(), make_learner(stream), stream).run()
    replay = TinyLoop(Replay(memory=10), make_learner(stream), stream).run()
    assert same(tensors(plain), tensors(replay))


@pytest.mark.parametrize("weight", [None, 0.5])
@pytest.mark.parametrize("scenario", ["class_incremental", "task_incremental"])
def test_loss_is_the_formula(scenario: str, weight: float | None) -> None:
    stream = make_stream(scenario)
    loop = TinyLoop(Replay(memory=9, weight=weight, batch_size=6), make_learner(stream), stream)
    context = loop.until(2).begin()
    batch = next(context.source.epoch(7, 0))
    state = loop.draws.get_state()
    loss, logits = loop.method.loss(loop.learner, batch, context)
    memory = loop.method._memory
    loop.draws.set_state(state)
    index = torch.randperm(len(memory), generator=loop.draws)[:6]
    new, old = [], []
    for x, y in zip(batch.x, batch.y, strict=True):
        new.append(-loop.learner(x[None], 2).log_softmax(1)[0, y])
    for i in index:
        task = int(memory.task[i])
        old.append(-loop.learner(memory.x[i, None], task).log_softmax(1)[0, memory.y[i]])
    mean = torch.stack(new + old).mean()
    apart = torch.stack(new).mean() + 0.5 * torch.stack(old).mean()
    torch.testing.assert_close(loss, mean if weight is None else apart)
    own = loop.learner(batch.x, 2)
    torch.testing.assert_close(logits[:, : own.shape[1]], own)


def test_memory_holds_tasks_done_whatever_the_epochs() -> None:
    stream = make_stream(rows=30)
    for epochs in (1, 3):
        loop = TinyLoop(Replay(memory=25), make_learner(stream), stream, epochs=epochs)
        loop.until(2)
        memory = loop.method._memory
        assert set(memory.task.tolist()) == {0, 1}
        rows = {tuple(x.tolist()) for x in memory.x}
        assert len(rows) == 25  # no sample twice


def test_class_balanced_counts_labels_not_columns() -> None:
    # Task-incremental heads number their columns from 0 in every task.
    stream = make_stream("task_incremental", rows=40)
    method = Replay(memory=21, selection="class_balanced")
    TinyLoop(method, make_learner(stream), stream, epochs=1).run()
    shares = Counter(zip(method._memory.task.tolist(), method._memory.y.tolist(), strict=True))
    assert sorted(shares.values()) == [3] * 7


def test_refuses_to_balance_targets() -> None:
    stream = make_stream("domain_incremental", regression=True)
    with pytest.raises(ValueError, match="selection must be 'reservoir' for regression targets"):
        Replay(selection="class_balanced").check(make_learner(stream), stream)


def test_remembers_what_finetuning_forgets() -> None:
    stream = make_stream(tasks=2, rows=60)

    def accuracy(method: Replay | Finetune | Joint) -> float:
        learner = TinyLoop(method, make_learner(stream), stream, epochs=20).run().eval()
        task = stream[0].test
        return float((learner.predict(task.x) == task.y).float().mean())

    assert accuracy(Finetune()) < 0.3
    assert accuracy(Replay(memory=60)) > 0.5
    assert accuracy(Joint()) > 0.5


def test_joint_covers_all_tasks_so_far() -> None:
    stream = make_stream()
    loop = TinyLoop(Joint(), make_learner(stream), stream, epochs=1)
    context = loop.until(2).begin()
    assert len(context.source) == sum(len(task.train) for task in stream)
    batches: list[Batch] = list(context.source.epoch(7, 0))
    found = torch.cat([b.tasks() for b in batches]).bincount().tolist()
    assert found == [len(task.train) for task in stream]
    assert [list(Joint().rehearses(i)) for i in range(3)] == [[0], [0, 1], [0, 1, 2]]
