"""Every method goes on bit for bit after a kill, wherever its stream allows it to run."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_loop import TinyLoop, make_learner, make_stream, same, tensors

from holdfast.methods import (
    AGEM,
    APD,
    EWC,
    GPM,
    L2,
    WSN,
    BatchEnsemble,
    BatchNormOnly,
    ContinualBackprop,
    DERpp,
    Finetune,
    HareTortoise,
    Joint,
    L2Init,
    LwF,
    Method,
    ReDo,
    Replay,
    SingleTask,
    SpectralRegularisation,
    TaskLoRA,
    WeightClipping,
    WeightNormProjection,
)
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
    "wsn": WSN,
    "apd": lambda: APD(drift=5.0, consolidate=2, groups=1),
    "apd_fixed": lambda: APD(retroactive=False),
    "gpm": lambda: GPM(threshold=0.8, samples=9),
    "ewc": lambda: EWC(strength=1.0),
    "ewc_sampled": lambda: EWC(strength=1.0, fisher="sampled", online=True, decay=0.9),
    "l2": L2,
    "l2_init": L2Init,
    "l2_init_redrawn": lambda: L2Init(strength=0.1, redraw=True),
    "redo": lambda: ReDo(every=3, tau=0.8, samples=5),
    "continual_backprop": lambda: ContinualBackprop(rho=0.1, maturity=2),
    "batch_norm": lambda: BatchNormOnly(biases=True),
    "batch_ensemble": BatchEnsemble,
    "task_lora": lambda: TaskLoRA(rank=2, scale=3.0, biases=False),
    "task_lora_pretrained": lambda: TaskLoRA(rank=2, base="pretrained"),
    "spectral": lambda: SpectralRegularisation(strength=0.1),
    "weight_clipping": lambda: WeightClipping(kappa=0.9),
    "norm_projection": lambda: WeightNormProjection(layers="all"),
    "hare_tortoise": lambda: HareTortoise(mu=0.9, period=3),
}
STREAMS: dict[str, tuple[Scenario, HeadKind, dict[str, bool]]] = {
    "class": ("class_incremental", "auto", {}),
    "class_shared": ("class_incremental", "shared", {}),
    "task": ("task_incremental", "auto", {}),
    "domain": ("domain_incremental", "auto", {}),
    "loaders": ("domain_incremental", "auto", {"loaders": True}),
    "regression": ("domain_incremental", "auto", {"regression": True}),
}
HEADS_BY_TASK = ("batch_norm", "batch_ensemble", "task_lora", "task_lora_pretrained")
REFUSED = {
    *((method, stream) for method in HEADS_BY_TASK for stream in STREAMS if stream != "task"),
    ("single_task", "class"),
    ("single_task", "class_shared"),
    ("lwf", "regression"),
    ("gpm", "class"),
    *((m, s) for m in ("wsn", "apd", "apd_fixed") for s in STREAMS if s != "task"),
    ("replay_balanced", "regression"),
}


def loop(method: str, stream: str) -> TinyLoop:
    scenario, heads, options = STREAMS[stream]
    data = make_stream(scenario, **options)
    return TinyLoop(METHODS[method](), make_learner(data, heads, norm=True), data)


def trainable(loop: TinyLoop) -> list[str]:
    return [name for name, p in loop.learner.named_parameters() if p.requires_grad]


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("method", METHODS)
def test_goes_on_after_a_kill(method: str, stream: str, tmp_path: Path) -> None:
    if (method, stream) in REFUSED:
        with pytest.raises(
            ValueError, match=r"class_incremental|regression targets|GrowingHead|heads 'per_task'"
        ):
            loop(method, stream)
        return
    whole = loop(method, stream)
    saved = []
    for i, _ in enumerate(whole.steps()):
        # Within the second epoch of each task, and between the first two.
        if (whole.epoch, whole.step) == (1, 2) or (whole.index == 1 and not whole.open):
            saved.append((tmp_path / str(i), trainable(whole)))
            whole.save(saved[-1][0])
    assert len(saved) == 4
    assert all(bool(torch.isfinite(p).all()) for p in whole.learner.parameters())
    wanted = tensors(whole.learner)
    for path, names in saved:
        again = loop(method, stream)
        again.restore(path)
        assert trainable(again) == names
        assert same(tensors(again.run()), wanted), path.name
        assert torch.equal(again.draws.get_state(), whole.draws.get_state())
