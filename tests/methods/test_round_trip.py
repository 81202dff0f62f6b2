"""Every method goes on bit for bit after a kill, wherever its stream allows it to run."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_loop import TinyLoop, make_learner, make_stream, same, tensors

from holdfast.methods import AGEM, EWC, DERpp, Finetune, Joint, LwF, Method, Replay, SingleTask
from holdfast.nets.learner import HeadKind
from holdfast.streams.stream import Scenario

METHODS: dict[str, Callable[[], Method]] = {
    "finetune": Finetune,
    "joint": Joint,
    "single_task": SingleTask,
    "replay": lambda: Replay(memory=20),
    "replay_balanced": lambda: Replay(memory=20, selection="class_balanced", weight=0.7),
    "derpp": lambda: DERpp(memory=20),
    "agem": lambda: AGEM(memory=20, batch_size=5),
    "lwf": LwF,
    "ewc": lambda: EWC(strength=1.0),
    "ewc_sampled": lambda: EWC(strength=1.0, fisher="sampled", online=True, decay=0.9),
}
STREAMS: dict[str, tuple[Scenario, bool, HeadKind]] = {
    "class": ("class_incremental", False, "auto"),
    "class_shared": ("class_incremental", False, "shared"),
    "task": ("task_incremental", False, "auto"),
    "domain": ("domain_incremental", False, "auto"),
    "regression": ("domain_incremental", True, "auto"),
}
REFUSED = {
    ("single_task", "class"),
    ("single_task", "class_shared"),
    ("lwf", "regression"),
    ("replay_balanced", "regression"),
}


def loop(method: str, stream: str) -> TinyLoop:
    scenario, regression, heads = STREAMS[stream]
    data = make_stream(scenario, regression=regression)
    return TinyLoop(METHODS[method](), make_learner(data, heads, norm=True), data)


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("method", METHODS)
def test_goes_on_after_a_kill(method: str, stream: str, tmp_path: Path) -> None:
    if (method, stream) in REFUSED:
        with pytest.raises(ValueError, match=r"class_incremental|regression targets"):
            loop(method, stream)
        return
    whole = loop(method, stream)
    saved = []
    for i, _ in enumerate(whole.steps()):
        # Mid-epoch in the second and third task, and at the boundaries.
        if i % 7 == 3 or not whole.open:
            saved.append(tmp_path / str(i))
            whole.save(saved[-1])
    assert len(saved) > 5
    assert all(bool(torch.isfinite(p).all()) for p in whole.learner.parameters())
    wanted = tensors(whole.learner)
    for path in saved:
        again = loop(method, stream)
        again.restore(path)
        assert same(tensors(again.run()), wanted), path.name
        assert torch.equal(again.draws.get_state(), whole.draws.get_state())
