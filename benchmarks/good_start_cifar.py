"""CIFAR-100 with starts: a net learns 50 classes once a seed, then each start goes on from it.

A study would train the same first task once for each start. Here the net is kept and copied: its
features stand in for the images where the backbone is frozen, and where it is trained the copy goes
on. The first task is passed again by each run, from what was learned.
"""

from copy import deepcopy
from pathlib import Path

import holdfast
from holdfast import methods, nets, streams
from holdfast.data import Dataset, encode_dataset, shrunk
from holdfast.nets import Learner
from holdfast.records import Record
from holdfast.starts import LeastSquaresHead
from holdfast.starts.new_rows import RowStart
from holdfast.studies.good_start import Condition

CLASSES = {"frozen": (50, 10, 10, 10, 10, 10), "trained": (50, 10, 10, 10)}
"""Of each task; with a trained backbone the later ones would take minutes a run."""

SEEDS = 3
STARTS: dict[str, RowStart] = {
    "random": "random",
    "unit class mean": "unit_class_mean",
    "LS, all classes": "least_squares",
    "calibrated": "calibrated",
    "LDA": "lda",
}
TESTED = 25
"""Test images of each class where the backbone is trained; all 100 where it is frozen."""

FIRST = holdfast.Training(
    epochs=8, batch_size=64, optimizer="adam", lr=2e-3, schedule="cosine", device="cpu"
)
FROZEN = holdfast.Training(
    epochs=4, batch_size=128, optimizer="adam", lr=2e-3, evaluate_start=True, evaluate_every=10,
    device="cpu",
)  # fmt: skip
TRAINED = holdfast.Training(
    epochs=1, batch_size=128, optimizer="adam", lr=1e-3, evaluate_start=True, evaluate_every=10,
    device="cpu",
)  # fmt: skip


def cifar_conditions(folder: Path) -> dict[str, Condition]:
    """The runs of each start with a frozen and with a trained backbone, read where they are."""
    wanted = [(s, name) for s in range(SEEDS) for name in STARTS]
    places = {
        (arm, s, name): folder / arm / f"{STARTS[name]}-{s}"
        for arm in ("frozen", "trained")
        for s, name in wanted
    }
    if not all((place / "record.json").is_file() for place in places.values()):
        _run(places)
    return {
        arm: Condition(
            {"backbone": arm},
            {
                name: tuple(Record.load(places[arm, s, name]) for s in range(SEEDS))
                for name in STARTS
            },
        )
        for arm in ("frozen", "trained")
    }


def _run(places: dict[tuple[str, int, str], Path]) -> None:
    images = shrunk(holdfast.load("cifar100"), 2)
    few = images.subset(per_class=TESTED, splits=("test",))
    for seed in range(SEEDS):
        first = _learned(images, seed)
        features = encode_dataset(images, first.backbone, batch_size=512, cache=False)
        still = Learner(nets.mlp(features.train.x.shape[1:], hidden=()), first.heads)
        for arm, data, learner, training in (
            ("frozen", features, still, FROZEN),
            ("trained", few, first, TRAINED),
        ):
            stream = streams.split(data, tasks=CLASSES[arm], shuffle_classes=True, seed=seed)
            for name, start in STARTS.items():
                place = places[arm, seed, name]
                if (place / "record.json").is_file():
                    continue
                own, policy = deepcopy(learner), LeastSquaresHead(start)
                record = holdfast.run(
                    stream, own, methods.Joint(), training, start=policy, seed=seed
                )
                record.save(place)
                print(f"  {arm}, {name}, seed {seed}", flush=True)


def _learned(images: Dataset, seed: int) -> Learner:
    """The net after the first 50 classes."""
    stream = streams.split(images, tasks=[50], shuffle_classes=True, seed=seed)
    backbone = nets.cnn(
        stream.input_shape, channels=(32, 64, 128), hidden=(128,), norm="batch", seed=seed
    )
    learner = nets.build_learner(backbone, stream, seed=seed)
    record = holdfast.run(stream, learner, methods.Finetune(), FIRST, seed=seed)
    print(f"  backbone of seed {seed}: {record.accuracy[0, 0]:.3f} on its 50 classes", flush=True)
    return learner
