"""A batch whose samples belong to several tasks."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor


def by_task(
    call: Callable[..., Any],
    task: Tensor,
    ids: Iterable[int],
    inputs: Sequence[Any],
    named: Mapping[str, Any],
) -> Tensor:
    """Outputs of each sample's own task, in the order of the samples.

    Samples of one task go through the network together: as many calls as there are tasks.

    Args:
        call: (task, inputs, named inputs) -> output.
        task: (n,) ids.
        ids: that occur in it.
        inputs: of which tensors with n rows are split.
        named: likewise.

    Raises:
        TypeError: the output is not one tensor with a row a sample.
        ValueError: no input has a row for each id, or outputs differ in shape between tasks.
    """
    n = len(task)
    given = [v for v in (*inputs, *named.values()) if isinstance(v, Tensor) and v.ndim]
    if given and all(len(v) != n for v in given):
        raise ValueError(
            f"task names {n} samples, the inputs have {len(given[0])}; give an id for each, or one "
            "task for all"
        )
    found: Tensor | None = None
    for one in ids:
        rows = (task == one).nonzero().squeeze(1)

        def pick(v: Any, rows: Tensor = rows) -> Any:
            return v[rows] if isinstance(v, Tensor) and v.ndim and len(v) == n else v

        out = call(one, [pick(v) for v in inputs], {k: pick(v) for k, v in named.items()})
        if not isinstance(out, Tensor) or not out.ndim or len(out) != len(rows):
            raise TypeError(
                "task may name a task for each sample only where the model gives one tensor with "
                f"a row a sample, it gave {type(out).__name__}; call it for one task at a time"
            )
        if found is not None and found.shape[1:] != out.shape[1:]:
            raise ValueError(
                f"task names tasks with outputs of different shapes, {tuple(found.shape[1:])} and "
                f"{tuple(out.shape[1:])} a sample; call the model for one task at a time"
            )
        found = out.new_empty(n, *out.shape[1:]) if found is None else found
        found = found.index_copy(0, rows.to(out.device), out)
    assert found is not None
    return found
