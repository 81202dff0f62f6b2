"""All metrics of a run under their short names."""

from collections.abc import Mapping, Sequence

from holdfast.records import metrics, within
from holdfast.records.onset import Onset, onset_metrics


def named_metrics(
    accuracy: metrics.Matrix,
    loss: metrics.Matrix,
    initial: metrics.Vector,
    traces: Sequence[within.Trace],
    onsets: Sequence[Mapping[within.Part, Onset]] = (),
) -> dict[str, float]:
    """Every metric by its short name; NaN where it is not defined or an entry it reads is unknown.

    | name | function |
    |---|---|
    | ``acc``, ``ae`` | `average_accuracy`, `average_error` |
    | ``la``, ``le`` | `learning_accuracy`, `learning_error` |
    | ``incremental_acc`` | `incremental_accuracy` |
    | ``bwt``, ``fwt`` | `backward_transfer`, `forward_transfer` |
    | ``forgetting``, ``cfr`` | `forgetting` (CF), `relative_forgetting`, against the maximum |
    | ``forgetting_after_learning`` | `forgetting` with that reference |
    | ``average_loss``, ``learning_loss`` | the functions of those names |
    | ``loss_forgetting``, ``loss_cfr`` | `loss_forgetting`, `relative_loss_forgetting`, minimum |
    | ``loss_forgetting_after_learning`` | `loss_forgetting` with that reference |
    | ``min_acc``, ``wc_acc`` | `min_accuracy`, `worst_case_accuracy` |
    | ``stability_gap`` | `accuracy_gap` of the old tasks against before |
    | ``plasticity_gap``, ``continual_knowledge_gap`` | of the new, of all seen, against after |
    | ``anytime_acc`` | `anytime_accuracy` |
    | ``initial_loss_new`` to ``steps_to_99`` | `holdfast.records.onset_metrics` |

    Args:
        accuracy: (T, T) R[i, j].
        loss: (T, T), likewise.
        initial: (T,) accuracy before any training.
        traces: T of them (see `holdfast.records.within`); an unfinished run has none to give.
        onsets: of the tasks after the first; an unfinished run has none to give.
    """
    return {
        "acc": metrics.average_accuracy(accuracy),
        "ae": metrics.average_error(accuracy),
        "la": metrics.learning_accuracy(accuracy),
        "le": metrics.learning_error(accuracy),
        "incremental_acc": metrics.incremental_accuracy(accuracy),
        "bwt": metrics.backward_transfer(accuracy),
        "fwt": metrics.forward_transfer(accuracy, initial),
        "forgetting": metrics.forgetting(accuracy),
        "forgetting_after_learning": metrics.forgetting(accuracy, "after_learning"),
        "cfr": metrics.relative_forgetting(accuracy),
        "average_loss": metrics.average_loss(loss),
        "learning_loss": metrics.learning_loss(loss),
        "loss_forgetting": metrics.loss_forgetting(loss),
        "loss_forgetting_after_learning": metrics.loss_forgetting(loss, "after_learning"),
        "loss_cfr": metrics.relative_loss_forgetting(loss),
        "min_acc": within.min_accuracy(accuracy, traces),
        "wc_acc": within.worst_case_accuracy(accuracy, traces),
        "stability_gap": within.accuracy_gap(accuracy, traces),
        "plasticity_gap": within.accuracy_gap(accuracy, traces, "new", "after"),
        "continual_knowledge_gap": within.accuracy_gap(accuracy, traces, "all", "after"),
        "anytime_acc": within.anytime_accuracy(traces),
        **onset_metrics(onsets),
    }
