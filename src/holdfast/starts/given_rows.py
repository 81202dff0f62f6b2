"""New rows without solving anything: drawn, zero, or means."""

import torch
from torch import Tensor

from holdfast.starts.rows import Rows, Wanted, list_few


def random(wanted: Wanted) -> Rows:
    """As `torch.nn.Linear` draws them: weights and biases uniform in [-1, 1]/sqrt(d)."""
    width = wanted.old.shape[1] - 1
    draw = wanted.generator
    drawn = torch.rand(
        len(wanted.new_classes),
        width + 1,
        dtype=torch.float64,
        generator=draw,
        device=draw.device,
    )
    return Rows(_biased(wanted, (2 * drawn - 1) / width**0.5), None, "random")


def zeros(wanted: Wanted) -> Rows:
    """Zero rows: every new class has logit 0."""
    new = wanted.old.new_zeros(len(wanted.new_classes), wanted.old.shape[1])
    return Rows(new, None, "zeros")


def mean_of_old(wanted: Wanted) -> Rows:
    """The mean of the old rows, biases included, for every new class.

    What Hugging Face's ``resize_token_embeddings(mean_resizing=True)`` does, less its noise of
    1e-9 times the covariance of the rows.
    """
    if len(wanted.old) == 0:
        note = "there are no old rows to take the mean of: random rows instead"
        return Rows(random(wanted).new, None, "random", notes=(note,))
    return Rows(wanted.old.mean(0).repeat(len(wanted.new_classes), 1), None, "mean_of_old")


def class_mean(wanted: Wanted) -> Rows:
    """Row c is mu_c, the mean feature of the class, without bias."""
    return Rows(_with_zero_bias(_means(wanted)), None, "class_mean", notes=_warnings(wanted))


def unit_class_mean(wanted: Wanted) -> Rows:
    """Row c is the mean of h/|h| over the class, without bias (SGM, Harun & Kanan).

    Exact where the features given hold every sample of the new classes; else mu_c/|mu_c|, of the
    same direction when all features of a class are equally long.
    """
    notes = list(_warnings(wanted))
    held = dict(zip(wanted.seen.classes, wanted.seen.counts.tolist(), strict=True))
    if wanted.features is not None:
        h, labels = (t.to(wanted.seen.device) for t in wanted.features)
        own = [h[labels == c].double() for c in wanted.new_classes]
        if all(len(f) == held[c] for f, c in zip(own, wanted.new_classes, strict=True)):
            unit = [torch.nn.functional.normalize(f, dim=1, eps=1e-300).mean(0) for f in own]
            return Rows(
                _with_zero_bias(torch.stack(unit)), None, "unit_class_mean", notes=tuple(notes)
            )
    notes.append(
        "the features of the new classes are not all given: their means were made unit vectors, "
        "instead of the means of unit vectors"
    )
    unit_means = torch.nn.functional.normalize(_means(wanted), dim=1, eps=1e-300)
    return Rows(_with_zero_bias(unit_means), None, "unit_class_mean", notes=tuple(notes))


def _means(wanted: Wanted) -> Tensor:
    positions = [wanted.seen.classes.index(c) for c in wanted.new_classes]
    return wanted.seen.means[positions]


def _with_zero_bias(weights: Tensor) -> Tensor:
    return torch.cat([weights, torch.zeros_like(weights[:, :1])], 1)


def _biased(wanted: Wanted, rows: Tensor) -> Tensor:
    if wanted.bias == "none":
        rows[:, -1] = 0
    return rows


def _warnings(wanted: Wanted) -> tuple[str, ...]:
    """Class means as rows outshout trained ones: their logits are as large as features squared."""
    if not wanted.known_old or wanted.loss != "cross_entropy":
        return ()
    means = wanted.seen.means[[wanted.seen.classes.index(c) for c in wanted.known_old]]
    inputs = torch.cat([means, torch.ones_like(means[:, :1])], 1)
    theirs = (inputs @ wanted.old_rows(wanted.known_old).T).max(1).values
    mine = (means @ _means(wanted).T).max(1).values
    lost = [c for c, t, m in zip(wanted.known_old, theirs, mine, strict=True) if m > t]
    if not lost:
        return ()
    return (
        f"at the mean feature of the old classes {list_few(lost)} a new class has the largest "
        "logit: these classes are lost until training recovers them",
    )
