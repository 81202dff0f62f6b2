"""A diagnosis as a configuration asks for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from holdfast.config import Config, fresh_learner, make_part, read_config, resolve
from holdfast.data.split import Dataset, Split
from holdfast.records.files import write_atomic
from holdfast.signatures import check_keys, typed_options
from holdfast.streams.growth import growing
from holdfast.streams.stream import Stream
from holdfast.studies.plasticity.diagnose import diagnose_stream
from holdfast.studies.plasticity.diagnose_data import NEW, OLD, training_split, two_phases
from holdfast.studies.plasticity.diagnose_model import Builder
from holdfast.studies.plasticity.diagnosis import Diagnosis
from holdfast.studies.progress import Progress, StudyListener
from holdfast.training.options import Training

FILE = "diagnosis.yaml"


@dataclass(frozen=True)
class Diagnosing:
    """What `holdfast diagnose` reads.

    The data are drawn once, by `data_seed`: intervals are over models and orders of batches.

    Args:
        net: name, or mapping of name and options.
        dataset: likewise.
        training: of the new phase, options of `Training`; by default 30 epochs of Adam at 0.001.
        old: share of the training data that yesterday's weights were trained on, each class in
            proportion.
        old_epochs: of the old phase; by default those of `training`.
        label_noise: share of the training samples whose label is drawn anew among all classes.
        richness: how far features move, as in a run.
        mitigations: to try, see `arms`; ``try`` in a configuration.
        seeds: of the pairs, or their number.
        data_seed: of the share and the noise.
        tolerance: how near to fresh weights' accuracy counts as reached.
        name: of the folder.

    Raises:
        ValueError, TypeError: naming the key, the value and what is allowed.
    """

    net: str | dict[str, Any]
    dataset: str | dict[str, Any] = "digits"
    training: dict[str, Any] = field(default_factory=dict)
    old: float = 0.5
    old_epochs: int | None = None
    label_noise: float = 0.0
    richness: str | dict[str, Any] | None = None
    mitigations: Sequence[Any] = ()
    seeds: int | Sequence[int] = 5
    data_seed: int = 0
    tolerance: float = 0.005
    name: str = "diagnosis"

    def __post_init__(self) -> None:
        if not 0 < self.old < 1:
            raise ValueError(f"old must be a share of the data in (0, 1), got {self.old!r}")
        if not 0 <= self.label_noise <= 1:
            raise ValueError(f"label_noise must be a share in [0, 1], got {self.label_noise!r}")
        if isinstance(self.net, Mapping) and self.net.get("seed") is not None:
            raise ValueError(
                f"net.seed is {self.net['seed']!r}, so that fresh weights would be the same in all "
                "seeds; leave it out"
            )
        given = {"epochs": 30, "optimizer": "adam", "lr": 0.001, **self.training}
        object.__setattr__(self, "training", given)
        self.options()

    def options(self) -> Training:
        """The training of the new phase."""
        return Training(**typed_options("training", Training, self.training))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Diagnosing":
        """Of a configuration, whose keys are the arguments, ``mitigations`` being called ``try``.

        Raises:
            ValueError: an unknown key (with the nearest known one), a wrong type, or something
                missing.
        """
        if not isinstance(config, Mapping):
            raise ValueError(f"config must be a mapping of keys, got {config!r}")
        check_keys("diagnose", config, KEYS)
        tried = config.get("try") or []
        if not isinstance(tried, list):
            raise ValueError(f"try must be a list of mitigations, got {tried!r}")
        given = {k: v for k, v in config.items() if k != "try" and v is not None}
        skip = frozenset({"mitigations"})
        return cls(**typed_options("diagnose", cls, given, skip), mitigations=tuple(tried))

    @classmethod
    def read(cls, folder: str | Path) -> "Diagnosing":
        """The diagnosis that a folder holds.

        Raises:
            FileNotFoundError: it holds none.
        """
        path = Path(folder) / FILE
        if not path.is_file():
            raise FileNotFoundError(f"{folder} holds no diagnosis: there is no {FILE} in it")
        return cls.from_config(read_config(path))

    def to_config(self) -> Config:
        """The inverse of `from_config`."""
        found = {key: getattr(self, "mitigations" if key == "try" else key) for key in KEYS}
        return {
            k: list(v) if isinstance(v, tuple) else v for k, v in found.items() if v is not None
        }

    def phases(self, device: torch.device) -> Stream:
        """The two phases of the dataset."""
        dataset: Dataset = make_part("dataset", self.dataset)
        sizes, noise = [self.old, 1.0], self.label_noise
        try:
            grown = growing(dataset, sizes=sizes, label_noise=noise, seed=self.data_seed)
        except ValueError as error:
            raise ValueError(f"dataset cannot be parted by old={self.old}: {error}") from error
        old, whole = (training_split(grown, phase) for phase in (OLD, NEW))
        new = Split(whole.x[len(old) :], whole.y[len(old) :])
        return two_phases(old, new, dataset.test, device, dataset.normalize)

    def run(self, out: str | Path, listener: StudyListener | None = None) -> Diagnosis:
        """Carry it out in a folder, or go on with it; see `diagnose`.

        Raises:
            ValueError, TypeError, FileNotFoundError: what cannot be done, before any work.
        """
        folder, training = Path(out), self.options()
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"out must be a folder, {folder} is a file")
        if (folder / FILE).is_file() and self.read(folder).name != self.name:
            raise ValueError(
                f"out {folder} holds the diagnosis {self.read(folder).name!r}, this one is "
                f"{self.name!r}; give another folder, or the same name to go on with it"
            )
        stream = self.phases(training.place())

        def told(event: Progress) -> None:
            if event.event == "begin":  # all has been checked, and nothing run
                text = yaml.safe_dump(self.to_config(), sort_keys=False)
                write_atomic(folder / FILE, text)
            if listener is not None:
                listener(event)

        return diagnose_stream(
            self._builder({}, stream), stream, training=training, old_epochs=self.old_epochs,
            try_=self.mitigations, builder_of=lambda changes: self._builder(changes, stream),
            seeds=self.seeds, tolerance=self.tolerance, settings=self.to_config(), out=folder,
            listener=told,
        )  # fmt: skip

    def _builder(self, changes: Mapping[str, Any], stream: Stream) -> Builder:
        """The net of a seed, with some of its options changed."""
        net = {"name": self.net} if isinstance(self.net, str) else self.net
        # The stream of a run is needed to resolve, though not taken.
        whole = {"stream": "split", "net": {**net, **changes}, "richness": self.richness}
        resolved = {**resolve(whole), "heads": "shared"}

        def build(seed: int) -> nn.Module:
            return fresh_learner({**resolved, "seed": seed}, stream)

        return build


KEYS = tuple("try" if key == "mitigations" else key for key in Diagnosing.__dataclass_fields__)
"""The keys of a configuration."""
