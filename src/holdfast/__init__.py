"""Holdfast: continual learning by where a network starts and how far it moves."""

from typing import TYPE_CHECKING, Any

from holdfast.data.catalog import load
from holdfast.data.embedded import digits
from holdfast.data.split import Dataset, Split
from holdfast.methods.method import Method
from holdfast.nets.heads import GrowingHead, SharedHead, TaskHeads
from holdfast.nets.learner import Learner, build_learner
from holdfast.probes.probe import Probe
from holdfast.records.record import Record
from holdfast.starts.start import Start
from holdfast.streams.stream import Stream, Task
from holdfast.training.options import Training
from holdfast.training.run import run

if TYPE_CHECKING:
    from holdfast.config import resume, run_config
    from holdfast.estimator import ContinualClassifier, ContinualLinearClassifier
    from holdfast.starts.grow import grow_head
    from holdfast.starts.grow_optimizer import grow_optimizer
    from holdfast.starts.statistics import FeatureStatistics
    from holdfast.studies.study import Study
    from holdfast.trained import load_learner

__version__ = "0.1.0"

_LAZY = {
    "ContinualClassifier": "holdfast.estimator",
    "ContinualLinearClassifier": "holdfast.estimator",
    "FeatureStatistics": "holdfast.starts.statistics",
    "Study": "holdfast.studies.study",
    "grow_head": "holdfast.starts.grow",
    "grow_optimizer": "holdfast.starts.grow_optimizer",
    "load_learner": "holdfast.trained",
    "resume": "holdfast.config",
    "run_config": "holdfast.config",
}
"""Names whose modules need scikit-learn or much else, imported when first asked for."""

__all__ = [
    "ContinualClassifier",
    "ContinualLinearClassifier",
    "Dataset",
    "FeatureStatistics",
    "GrowingHead",
    "Learner",
    "Method",
    "Probe",
    "Record",
    "SharedHead",
    "Split",
    "Start",
    "Stream",
    "Study",
    "Task",
    "TaskHeads",
    "Training",
    "build_learner",
    "digits",
    "grow_head",
    "grow_optimizer",
    "load",
    "load_learner",
    "resume",
    "run",
    "run_config",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'holdfast' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
