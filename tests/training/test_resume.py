"""A run cut short anywhere and resumed is the run that was never cut."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import (
    Interrupted,
    Setup,
    copies_of_checkpoints,
    cut_at_checkpoint,
    same,
    tensors,
)

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
    WeightNormProjection,
)
from holdfast.nets.learner import Learner
from holdfast.probes import EffectiveRank, FeatureMovement, TangentKernel
from holdfast.records.record import Record
from holdfast.starts import Fresh, LeastSquaresHead, Start
from holdfast.streams.batches import Batch
from holdfast.streams.context import Context

METHODS: dict[str, Callable[[], Method]] = {
    "finetune": Finetune,
    "joint": Joint,
    "single_task": SingleTask,
    "replay": lambda: Replay(memory=10),
    "balanced": lambda: Replay(memory=10, selection="class_balanced", weight=0.5),
    "derpp": lambda: DERpp(memory=10),
    "agem": lambda: AGEM(memory=10, batch_size=4),
    "lwf": LwF,
    "ewc": lambda: EWC(strength=2.0),
    "ewc_sampled": lambda: EWC(strength=2.0, fisher="sampled", online=True, decay=0.9),
    "l2": L2,
    "l2_init": lambda: L2Init(strength=0.1),
    "batch_norm": BatchNormOnly,
    "batch_ensemble": BatchEnsemble,
    "task_lora": lambda: TaskLoRA(rank=2),
}
HEADS_BY_TASK = ("batch_norm", "batch_ensemble", "task_lora")
MOMENTUM = {"momentum": 0.9, "reset_optimizer": False}
ADAM = {"optimizer": "adam", "lr": 0.01, "reset_optimizer": False}


class Freeze(Start):
    """Freezes the backbone from the second task on, and keeps nothing of its own."""

    def prepare(self, learner: Learner, context: Context) -> None:
        learner.backbone.requires_grad_(context.index == 0)


class Return(Start):
    """Goes half of the way back to where the task before began, which it keeps."""

    kept: dict[str, Any]

    def __init__(self) -> None:
        self.kept = {}

    def prepare(self, learner: Learner, context: Context) -> None:
        here = {n: p.detach().clone() for n, p in learner.backbone.named_parameters()}
        for name, parameter in learner.backbone.named_parameters():
            parameter.data.lerp_(self.kept.get(name, here[name]), 0.5)
        self.kept = here

    def state_dict(self) -> dict[str, Any]:
        return {"kept": self.kept}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.kept = state["kept"]


class Telling(Start):
    """Says what it did, and counts at the end of tasks."""

    def __init__(self) -> None:
        self._tasks = 0

    def prepare(self, learner: Learner, context: Context) -> dict[str, Any] | None:
        return {"ended": self._tasks, "norm": None} if context.index else None

    def end_task(self, learner: Learner, context: Context) -> None:
        self._tasks += 1

    def state_dict(self) -> dict[str, Any]:
        return {"tasks": self._tasks}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._tasks = state["tasks"]


class Noisy(Method):
    """Draws from the method's generator and from torch's."""

    def after_backward(self, learner: Learner, batch: Batch, context: Context) -> None:
        for p in learner.parameters():
            if p.grad is not None:
                p.grad += 1e-3 * torch.randn(p.shape, generator=context.generator)
                p.grad += 1e-3 * torch.randn(p.shape)


class Dice:
    """A probe that draws from torch's global generator."""

    def measure(self, learner: Learner, batch: Batch) -> dict[str, float]:
        return {"dice": torch.rand(()).item()}


def probes() -> tuple[EffectiveRank, Dice]:
    return EffectiveRank(), Dice()


def remembering() -> tuple[FeatureMovement, TangentKernel]:
    return FeatureMovement(), TangentKernel(samples=4, kernel_samples=3)


SETUPS: dict[str, Setup] = {
    # every method, on a net with BatchNorm and dropout
    **{
        f"{name}_{scenario[:4]}": Setup(method, f"{scenario}_incremental", net="noisy")
        for name, method in METHODS.items()
        for scenario in ("class", "task", "domain")
        if (name, scenario) != ("single_task", "class")
        and (name not in HEADS_BY_TASK or scenario == "task")
        and (scenario != "domain" or name in ("single_task", "lwf", "ewc", "derpp"))
    },
    # what acts on weights, and what is evaluated instead of them
    "spectral": Setup(lambda: SpectralRegularisation(strength=0.1), net="noisy"),
    "norm_projection": Setup(
        lambda: WeightNormProjection(layers="all"), net="noisy", training={"schedule": "cosine"}
    ),
    "hare_tortoise": Setup(
        lambda: HareTortoise(mu=0.8, period=3), net="noisy", training={"evaluate_every": 2}
    ),
    "redo": Setup(lambda: ReDo(every=3, tau=0.8, samples=5), net="noisy", training=ADAM),
    "continual_backprop": Setup(
        lambda: ContinualBackprop(rho=0.1, maturity=2),
        "task_incremental",
        net="noisy",
        training=ADAM,
    ),
    "continual_backprop_conv": Setup(
        lambda: ContinualBackprop(rho=0.1, maturity=2), net="image", training=MOMENTUM
    ),
    "rmsprop": Setup(training={"optimizer": "rmsprop", "lr": 0.01, "reset_optimizer": False}),
    "pretraining": Setup(training={"pretraining_epochs": 1, "evaluate_every": "epoch"}),
    # carried optimizer states, for each head
    "momentum_growing": Setup(training=MOMENTUM),
    "momentum_per_task": Setup(scenario="task_incremental", training=MOMENTUM),
    "momentum_shared": Setup(heads="shared", training=MOMENTUM),
    "momentum_reset": Setup(training={"momentum": 0.9}),
    "sgd_carried": Setup(training={"reset_optimizer": False}),
    "adam_growing": Setup(training=ADAM, net="scaled"),
    "adam_per_task": Setup(scenario="task_incremental", training=ADAM, net="scaled"),
    "adam_joint": Setup(Joint, "task_incremental", training=ADAM),
    "adamw_reset": Setup(training={"optimizer": "adamw", "lr": 0.01, "weight_decay": 0.1}),
    "gpm": Setup(
        lambda: GPM(threshold=0.8, samples=6), "task_incremental", net="noisy", training=ADAM
    ),
    "apd": Setup(
        lambda: APD(consolidate=2, groups=1), "task_incremental", net="noisy", training=ADAM
    ),
    "wsn": Setup(WSN, "task_incremental", net="noisy", training=ADAM),
    "single_task_carried": Setup(SingleTask, "task_incremental", training=ADAM),
    "batch_ensemble_carried": Setup(BatchEnsemble, "task_incremental", net="noisy", training=ADAM),
    "task_lora_pretrained": Setup(
        lambda: TaskLoRA(rank=2, scale=2.0, biases=False, base="pretrained"),
        "task_incremental",
        net="image",
        training=MOMENTUM,
    ),
    "single_task_momentum": Setup(SingleTask, "domain_incremental", training=MOMENTUM),
    "channels_last": Setup(net="image", training=ADAM),
    "channels_last_momentum": Setup(net="image", training=MOMENTUM),
    # schedules
    "one_cycle": Setup(training={"schedule": "one_cycle"}),
    "cosine": Setup(training={"schedule": "cosine", **MOMENTUM}),
    "exponential": Setup(training={"schedule": "exponential", "decay": 0.5}),
    "step": Setup(training={"schedule": "step", "milestones": (1,), "clip": 0.1}),
    # loaders
    "loader": Setup(stream={"fed": "loader"}, net="noisy"),
    "loader_own": Setup(stream={"fed": "own"}, net="noisy"),
    "loader_joint": Setup(Joint, "task_incremental", stream={"fed": "own"}),
    "loader_replay": Setup(METHODS["replay"], stream={"fed": "loader"}, net="noisy"),
    "loader_ewc": Setup(METHODS["ewc"], stream={"fed": "own"}),
    # the rest
    "evaluations": Setup(net="noisy", training={"evaluate_every": 2}, probes=probes),
    "seen": Setup(
        heads="shared", training={"evaluate_every": 1, "evaluate_tasks": "seen"}, probes=probes
    ),
    "movement": Setup(net="noisy", probes=remembering),
    "movement_per_task": Setup(SingleTask, "task_incremental", probes=remembering),
    "validation": Setup(stream={"validation": True}, training={"evaluate_on": "validation"}),
    "fresh": Setup(net="noisy", start=Fresh),
    "return": Setup(start=Return),
    "frozen": Setup(start=Freeze, training=ADAM),
    "draws": Setup(Noisy, net="noisy"),
    "frozen_draws": Setup(Noisy, start=Freeze),
    "regression": Setup(
        METHODS["derpp"], "domain_incremental", stream={"regression": True}, net="noisy"
    ),
    "squared": Setup(training={"loss": "mse"}),
    "low_rank": Setup(METHODS["replay"], net="low_rank", training=ADAM),
    **{
        f"start_{name}": Setup(
            METHODS[method],
            f"{scenario}_incremental",
            net=net,
            start=lambda options=options: LeastSquaresHead(**options),
            training={**ADAM, "freeze_backbone": freeze},
        )
        for name, method, scenario, net, options, freeze in (
            ("joint", "joint", "class", "noisy", {}, "never"),
            ("kept", "finetune", "class", "noisy", {"first": True}, "always"),
            ("after", "derpp", "class", "plain", {"ridge": "loo"}, "after_first"),
            ("sums", "replay", "class", "plain", {"weighting": "frequency"}, "never"),
            ("heads", "finetune", "task", "plain", {"ridge": "held_out"}, "never"),
        )
    },
    "held_still": Setup(
        METHODS["replay"],
        net="noisy",
        training={
            **ADAM,
            "freeze_backbone": "after_first",
            "freeze_old_rows": True,
            "evaluate_start": True,
        },
    ),
    "told": Setup(start=Telling, training={"evaluate_start": True, "evaluate_every": 3}),
}


@pytest.mark.parametrize("name", SETUPS)
def test_cut_after_every_checkpoint(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    """Each life resumes one checkpoint further on than the last, writes the next, and ends in the
    middle of an event shortly before the one after."""
    setup, out, lives = SETUPS[name], tmp_path / "cut", 1
    record, learner = setup.run(tmp_path / "whole")
    wanted, events = tensors(learner), (tmp_path / "whole" / "events.jsonl").read_bytes()
    assert record.status == "complete"
    while lives < 40:
        # The second life begins the run again, and writes the first checkpoint again.
        try:
            with cut_at_checkpoint(monkeypatch, 2 if lives == 2 else 1):
                again, learner = setup.run(out, init=lives - 1, resume=True, checkpoint_minutes=0.0)
            break
        except Interrupted:
            lives += 1
            with (out / "events.jsonl").open("ab") as file:
                file.write(b'{"event": "to')
    assert lives == record.curve[-1]["step"] + 4  # steps, and before and after the three tasks
    assert again.digest() == record.digest()
    assert same(tensors(learner), wanted)
    assert (out / "events.jsonl").read_bytes() == events


@pytest.mark.parametrize(
    "name", ["derpp_task", "adam_growing", "loader_own", "evaluations", "movement"]
)
def test_resumed_at_any_checkpoint(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    """From one checkpoint to the end in one go, with another interval between checkpoints."""
    setup, whole, cut = SETUPS[name], tmp_path / "whole", tmp_path / "cut"
    with copies_of_checkpoints(monkeypatch, tmp_path / "copies") as checkpoints:
        record, learner = setup.run(whole, checkpoint_minutes=0.0)
    assert len(checkpoints) == 16
    wanted, events = tensors(learner), (whole / "events.jsonl").read_bytes()
    plain, learner = setup.run()
    assert plain.digest() == record.digest()
    assert same(tensors(learner), wanted)
    for checkpoint in checkpoints:
        (cut / "checkpoint").mkdir(parents=True)
        shutil.copy(checkpoint, cut / "checkpoint" / "state.safetensors")
        # The run had gone on long after this checkpoint.
        (cut / "events.jsonl").write_bytes(events)
        resumed, learner = setup.run(cut, init=1, resume=True, checkpoint_minutes=9.0)
        assert resumed.digest() == record.digest(), checkpoint.name
        assert same(tensors(learner), wanted), checkpoint.name
        assert (cut / "events.jsonl").read_bytes() == events, checkpoint.name
        shutil.rmtree(cut)


def test_starts_tell_what_they_did() -> None:
    events: list[dict[str, Any]] = []
    record, _ = SETUPS["told"].run(listener=events.append)
    told = [{"ended": 1, "norm": None}, {"ended": 2, "norm": None}]
    steps = [c["step"] for c in record.curve if c["epoch"] == 1]
    assert record.starts == [
        {"task": i + 1, "step": steps[i], **entry} for i, entry in enumerate(told)
    ]
    assert [e for e in events if e["event"] == "start"] == [
        {"event": "start", **entry} for entry in record.starts
    ]
    assert Record.from_dict(record.to_dict()).starts == record.starts


def test_interrupted_by_a_listener(tmp_path: Path, quick: None) -> None:
    """At events of every kind: also between the last step of a task and the checkpoint after it."""
    setup = SETUPS["evaluations"]
    kinds: list[str] = []
    record, learner = setup.run(tmp_path / "whole", listener=lambda e: kinds.append(e["event"]))
    wanted = tensors(learner)
    assert set(kinds) == {"begin", "task", "epoch", "evaluation", "task_end", "probe", "end"}
    places = {kinds.index(kind) for kind in kinds}
    places |= {len(kinds) - 1 - kinds[::-1].index(kind) for kind in kinds}
    for number in places:
        left = [number]

        def cut(event: dict[str, object], left: list[int] = left) -> None:
            if left[0] == 0:
                raise Interrupted
            left[0] -= 1

        out = tmp_path / str(number)
        before = torch.get_rng_state()
        with pytest.raises(Interrupted):
            setup.run(out, listener=cut, checkpoint_minutes=0.0)
        assert torch.equal(torch.get_rng_state(), before)
        again, learner = setup.run(out, resume=True)
        assert again.digest() == record.digest()
        assert same(tensors(learner), wanted)


def test_a_complete_run_gives_its_record_and_learner(tmp_path: Path, quick: None) -> None:
    setup = SETUPS["derpp_clas"]
    record, learner = setup.run(tmp_path)
    written = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    heard: list[str] = []
    again, other = setup.run(
        tmp_path, init=1, resume=True, listener=lambda e: heard.append(e["event"])
    )
    assert again.digest() == record.digest()
    assert again.seconds == record.seconds
    assert same(tensors(learner), tensors(other))
    assert heard == ["end"]
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == written


def test_nothing_to_resume_starts(tmp_path: Path, quick: None) -> None:
    setup = Setup()
    record, _ = setup.run(tmp_path / "a", resume=True)
    assert record.digest() == setup.run()[0].digest()
