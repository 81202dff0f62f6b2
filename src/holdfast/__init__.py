"""Holdfast: continual learning by where a network starts and how far it moves."""

from typing import TYPE_CHECKING, Any

from holdfast.data.catalog import load as load
from holdfast.data.embedded import digits as digits
from holdfast.data.split import Dataset as Dataset
from holdfast.data.split import Split as Split
from holdfast.methods.method import Method as Method
from holdfast.nets.heads import GrowingHead as GrowingHead
from holdfast.nets.heads import SharedHead as SharedHead
from holdfast.nets.heads import TaskHeads as TaskHeads
from holdfast.nets.learner import Learner as Learner
from holdfast.nets.learner import build_learner as build_learner
from holdfast.probes.probe import Probe as Probe
from holdfast.records.record import Record as Record
from holdfast.starts.start import Start as Start
from holdfast.streams.stream import Stream as Stream
from holdfast.streams.stream import Task as Task
from holdfast.training.options import Training as Training
from holdfast.training.run import run as run

if TYPE_CHECKING:
    from holdfast.config import resume as resume
    from holdfast.config import run_config as run_config
    from holdfast.estimator import ContinualClassifier as ContinualClassifier
    from holdfast.studies.study import Study as Study

__version__ = "0.1.0"

_LAZY = {
    "ContinualClassifier": "holdfast.estimator",
    "Study": "holdfast.studies.study",
    "resume": "holdfast.config",
    "run_config": "holdfast.config",
}


def __getattr__(name: str) -> Any:
    """Names whose modules need scikit-learn or jsonargparse, imported when first asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module 'holdfast' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)
