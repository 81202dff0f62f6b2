"""Which task a sample belongs to, where nobody says."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from holdfast.data.encoding import evaluating
from holdfast.data.split import Split
from holdfast.methods.halrp.class_means import ClassMeans, training_batches
from holdfast.nets.heads import TaskHeads
from holdfast.nets.learner import Learner
from holdfast.streams.batches import transformed
from holdfast.streams.stream import Stream, Task

Rule = Literal["entropy", "energy", "class_mean"]
"""By what a sample's task is told: see `identify`."""


@dataclass(frozen=True)
class Identified:
    """What `identify` found of n samples and T tasks.

    Args:
        task: position of the task of each sample: that with the lowest score.
        label: its class label, by the head of that task.
        scores: (n, T), a column for each of `tasks`.
        tasks: positions of the tasks that were tried.
    """

    task: Int64[Tensor, " n"]
    label: Int64[Tensor, " n"]
    scores: Float[Tensor, "n tasks"]
    tasks: tuple[int, ...]


class Calibration:
    """Mean and standard deviation of a rule's score on each task's own samples.

    Tasks whose networks are surer of themselves than others would draw all samples to them: with a
    calibration `identify` compares (score - mean) / deviation. Taken from validation samples where
    a task has some, since a network is surer of what it was trained on, else from training samples.

    Args:
        rule: see `identify`.
        means: for ``class_mean``.
        temperature: of ``energy``.
    """

    def __init__(
        self, rule: Rule = "entropy", means: ClassMeans | None = None, temperature: float = 1.0
    ) -> None:
        check_rule(rule, means, temperature)
        self.rule, self.means, self.temperature = rule, means, temperature
        self.tasks: dict[int, tuple[float, float]] = {}

    @classmethod
    def of(
        cls,
        learner: Learner,
        stream: Stream,
        rule: Rule = "entropy",
        means: ClassMeans | None = None,
        temperature: float = 1.0,
    ) -> "Calibration":
        """That of all tasks of a stream.

        Raises:
            ValueError: as `identify`, or a score that is the same for all samples of a task.
        """
        found = cls(rule, means, temperature)
        for index, task in enumerate(stream):
            found.add(learner, index, task)
        return found

    @torch.no_grad()
    def add(self, learner: Learner, index: int, task: Task, batch_size: int = 1024) -> None:
        """Add a task, or replace what was there.

        Raises:
            ValueError: its score is the same for all samples, or as `identify`.
        """
        heads, _ = _checked(learner, self.rule, (index,))
        with evaluating(learner):
            parts = []
            for x in _own_inputs(learner, index, task, batch_size):
                features = learner.features(x, index)
                logits = heads(features, index)
                parts.append(
                    _score(self.rule, features, logits, index, self.means, self.temperature)
                )
        scores = torch.cat(parts).double()
        spread = float(scores.std()) if len(scores) > 1 else 0.0
        if not spread > 0:
            raise ValueError(
                f"the {self.rule} of the {len(scores)} samples of task {index} does not vary, so "
                "that it cannot be standardised; identify without a calibration"
            )
        self.tasks[index] = (float(scores.mean()), spread)


@torch.no_grad()
def identify(
    learner: Learner,
    x: Tensor,
    rule: Rule = "entropy",
    *,
    means: ClassMeans | None = None,
    temperature: float = 1.0,
    calibration: Calibration | None = None,
    tasks: Sequence[int] | None = None,
) -> Identified:
    """The task of each sample, and its class, of a learner with a head for each task.

    Every task looks at every sample, and the one with the lowest score takes it:

        entropy:     H(p) / log C,  p the probabilities of the task's C classes
        energy:      -T log( 1/C sum_c exp(z_c / T) ),  z its logits
        class_mean:  squared Mahalanobis distance to the nearest of its class means / width

    The mean over classes in place of their sum, and log C, make tasks with different numbers of
    classes comparable: logits that are all equal to z have the energy -z and the entropy 1 whatever
    C is. Energy: Liu et al. (2020); distance: Lee et al. (2018), here with a covariance for each
    task.

    The network runs once for each task over the whole batch, and once in all if its backbone does
    not differ by task. In between there is nothing to share: tasks differ from their first layer.

    Args:
        learner: with `TaskHeads`, used in evaluation mode: one of HALRP, SingleTask, EWC ...
        x: (n, ...) inputs as the network takes them.
        rule: see above.
        means: for ``class_mean``.
        temperature: T of ``energy``.
        calibration: compare standardised scores; made with the same rule, temperature and means.
        tasks: positions of those to try; all that have a head by default.

    Raises:
        ValueError: heads are not by task, an unknown rule or task, means or calibration that are
            missing or of another rule, or a task with one class, of which entropy says nothing.
    """
    check_rule(rule, means, temperature)
    heads, tried = _checked(learner, rule, tasks)
    made_for = None if calibration is None else (calibration.rule, calibration.temperature)
    if calibration is not None and (
        made_for != (rule, temperature) or calibration.means is not means
    ):
        raise ValueError(
            f"calibration was made for rule {calibration.rule!r} with temperature "
            f"{calibration.temperature} and its own means; give identify the same"
        )
    lacking = [t for t in tried if calibration is not None and t not in calibration.tasks]
    lacking += [t for t in tried if means is not None and t not in means.tasks]
    if lacking:
        raise ValueError(f"tasks {lacking} were not added to the calibration or means; add them")
    scores, labels = [], []
    shared = None
    with evaluating(learner):
        for index in tried:
            if shared is None or learner.per_task:
                shared = learner.features(x, index)
            logits = heads(shared, index)
            score = _score(rule, shared, logits, index, means, temperature)
            if calibration is not None:
                middle, spread = calibration.tasks[index]
                score = (score - middle) / spread
            scores.append(score)
            labels.append(heads.labels(logits.argmax(1), index))
    table = torch.stack(scores, 1)
    best = table.argmin(1)
    label = torch.stack(labels, 1).gather(1, best[:, None]).squeeze(1)
    return Identified(torch.tensor(tried, device=best.device)[best], label, table, tried)


def _score(
    rule: Rule, features: Tensor, logits: Tensor, index: int, means: ClassMeans | None, t: float
) -> Float[Tensor, " n"]:
    classes = logits.shape[1]
    if rule == "class_mean":
        assert means is not None
        return means[index].distance(features)
    if rule == "energy":
        return -t * (torch.logsumexp(logits / t, 1) - math.log(classes))
    return torch.special.entr(logits.softmax(1)).sum(1) / math.log(classes)


def _own_inputs(learner: Learner, index: int, task: Task, size: int) -> Sequence[Tensor]:
    if isinstance(task.validation, Split):
        device = next(learner.parameters()).device
        return transformed(task, task.validation.x, device).split(size)
    return [batch.x for batch in training_batches(learner, index, task, size)]


def check_rule(rule: str, means: ClassMeans | None, temperature: float) -> None:
    """Refuse an unknown rule, and what it lacks or has no use for.

    Raises:
        ValueError: naming what is allowed.
    """
    if rule not in get_args(Rule):
        raise ValueError(f"rule must be one of {get_args(Rule)}, got {rule!r}")
    if (rule == "class_mean") != (means is not None):
        raise ValueError(
            f"means are for rule 'class_mean', which needs them (ClassMeans.of); got rule {rule!r} "
            f"and means {'None' if means is None else 'of tasks ' + str(list(means.tasks))}"
        )
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be positive and finite, got {temperature}")


def _checked(
    learner: Learner, rule: Rule, tasks: Sequence[int] | None
) -> tuple[TaskHeads, tuple[int, ...]]:
    heads = learner.heads
    if not isinstance(heads, TaskHeads):
        raise ValueError(
            f"learner must have heads 'per_task', got {type(heads).__name__}: with one head the "
            "task need not be known"
        )
    tried = tuple(heads.tasks if tasks is None else tasks)
    strangers = [t for t in tried if t not in heads.tasks]
    if strangers or not tried:
        raise ValueError(f"tasks must be among those with a head, {heads.tasks}; got {list(tried)}")
    if len(set(tried)) != len(tried):
        raise ValueError(f"tasks repeats a position: {list(tried)}")
    # A ModuleDict knows its values as modules alone; those of TaskHeads are heads.
    single = [t for t in tried if len(heads.heads[str(t)].known) == 1]  # type: ignore[arg-type]
    if single and rule == "entropy":
        raise ValueError(
            f"tasks {single} have one class, whose entropy is always 0; take rule 'energy' or "
            "'class_mean'"
        )
    return heads, tried
