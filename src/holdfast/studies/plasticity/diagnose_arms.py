"""The arms of a diagnosis: where each begins, and what is done otherwise in it."""

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from holdfast.config import make_part
from holdfast.methods.method import Method
from holdfast.nets.learner import Learner
from holdfast.short_names import PARTS
from holdfast.signatures import check_keys, nearest, typed_options
from holdfast.starts.reset_groups import ResetGroups
from holdfast.starts.shrink_perturb import ShrinkPerturb
from holdfast.starts.start import Start
from holdfast.streams.stream import Stream
from holdfast.studies.plasticity.diagnose_data import NEW
from holdfast.studies.plasticity.diagnose_model import Builder
from holdfast.training.checks import check_epochs
from holdfast.training.options import Training

Kind = Literal["fresh", "warm", "tried", "reference"]

Tried = str | Start | Method | Mapping[str, Any]
"""A mitigation to try: see `arms`."""

FRESH, WARM = "fresh", "warm"

_KEYS = ("label", "start", "method", "training", "net", "build")
_BUDGET = ("epochs", "pretraining_epochs", "batch_size")
_CHANGES = tuple(
    field.name
    for field in fields(Training)
    if field.name not in _BUDGET and not field.name.startswith(("evaluat", "checkpoint", "device"))
)


@dataclass(frozen=True, eq=False)
class Arm:
    """One way to train on today's data.

    Args:
        label: unique; how it is called in tables.
        kind: ``fresh`` and ``warm``, what the diagnosis is about; ``tried``, a warm start with a
            mitigation; ``reference``, a fresh start trained as one that is tried.
        words: what is done in it, as a sentence begins with it.
        build: of its model.
        training: of the new phase.
        start: prepares the weights of yesterday.
        method: trains in both phases, so that its weights of yesterday are its own.
    """

    label: str
    kind: Kind
    words: str
    build: Builder
    training: Training
    start: Start
    method: Method

    @property
    def warm(self) -> bool:
        """Whether it begins with weights of yesterday."""
        return self.kind in ("warm", "tried")

    @property
    def has_own_past(self) -> bool:
        """Whether it needs weights of yesterday of its own, made by its method or start."""
        looks = type(self.start).end_task is not Start.end_task
        return type(self.method) is not Method or looks

    def parts(self) -> tuple[Start, Method]:
        """A start and a method that have not worked yet."""
        return copy.deepcopy((self.start, self.method))

    def identity(self) -> dict[str, Any]:
        """What tells its runs from those of other arms, beside its model."""
        free = ("device", "checkpoint_minutes")
        training = {k: v for k, v in asdict(self.training).items() if k not in free}
        parts = [_content(self.start), _content(self.method)]
        return {"warm": self.warm, "training": training, "parts": parts}


def arms(
    tried: Sequence[Tried],
    build: Builder,
    training: Training,
    builder_of: Callable[[Mapping[str, Any]], Builder] | None = None,
) -> tuple[Arm, ...]:
    """Fresh and warm, an arm a mitigation, and beside it a fresh one where it changes the training.

    A mitigation is a short name of a start or method (`"l2_init"`), such an object, or a mapping
    with one or more of these keys:

    - ``start``, ``method``: a name, or a mapping of name and options;
    - ``training``: options of `Training` that are changed in the new phase, such as ``lr``; not
      the budget;
    - ``build``: another builder; ``net``: options of the net that are changed, where the builder
      comes of a configuration;
    - ``label``: how the arm is called.

    Whoever tries another method, training or net changes what a fresh start reaches too. So the
    same fresh start is trained in that way beside it.

    Args:
        tried: mitigations.
        build: of the model.
        training: of the new phase.
        builder_of: makes a builder with other options of the net.

    Raises:
        TypeError: a mitigation of another kind.
        ValueError: an unknown name or key, a label twice, or a budget that is not that of the
            others.
    """
    fresh = Arm(FRESH, "fresh", "fresh weights", build, training, Start(), Method())
    found = [fresh, replace(fresh, label=WARM, kind="warm", words="warm start")]
    for one in tried:
        arm, alters = _arm(one, fresh, builder_of)
        found.append(arm)
        if alters:
            label = f"{FRESH}, {alters}"
            found.append(replace(arm, label=label, kind="reference", words=label, start=Start()))
    references = {arm.label: arm for arm in found if arm.kind == "reference"}
    found = [arm for arm in found if arm.kind != "reference" or references[arm.label] is arm]
    labels = [arm.label for arm in found]
    twice = [label for label in labels if labels.count(label) > 1]
    if twice:
        raise ValueError(f"try names {twice[0]!r} twice; give each mitigation a label of its own")
    return tuple(found)


def check_arms(found: Sequence[Arm], learners: Mapping[str, Learner], stream: Stream) -> None:
    """Refuse, before any work, mitigations that cannot serve the model or the data.

    Args:
        found: the arms.
        learners: a learner of each, by label.
        stream: the two phases.

    Raises:
        ValueError: naming the mitigation and what is wrong.
    """
    for arm in found:
        start, method = arm.parts()
        try:
            start.check(learners[arm.label], stream)
            method.check(learners[arm.label], stream)
            check_epochs(method, stream, arm.training)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{arm.label}: {error}") from error
        rehearsed = list(method.rehearses(NEW))
        if rehearsed != [NEW]:
            raise ValueError(
                f"{arm.label} trains on phases {rehearsed} in place of the last: it would make "
                "more updates than the others; the budgets of all arms must be equal"
            )


def _arm(
    one: Tried, fresh: Arm, builder_of: Callable[[Mapping[str, Any]], Builder] | None
) -> tuple[Arm, str]:
    """A warm arm with a mitigation, and what of it a fresh start could do too, in words."""
    given = _mapping(one)
    check_keys("a mitigation", given, _KEYS)
    if not set(given) - {"label"}:
        raise ValueError(f"a mitigation needs one or more of {', '.join(_KEYS[1:])}; got {given}")
    start = _part("start", given.get("start"), fresh.start)
    method = _part("method", given.get("method"), fresh.method)
    training, build = fresh.training, fresh.build
    words: list[str] = []
    alters: list[str] = []
    if "start" in given:
        sets_rate = type(start).rate is not Start.rate
        (alters if sets_rate else words).append(named("start", start))
    if "method" in given:
        alters.append(named("method", method))
    if "training" in given:
        changes = _changes(given["training"], training)
        training = replace(training, **changes)
        alters += [f"{key}={value}" for key, value in changes.items()]
    if "net" in given:
        if builder_of is None or not isinstance(given["net"], Mapping):
            raise ValueError(
                "net must be a mapping of options to change, in a configuration; "
                "with a builder of your own give another one as 'build'"
            )
        build = builder_of(given["net"])
        alters += [f"net.{key}={value}" for key, value in given["net"].items()]
    if "build" in given:
        build = given["build"]
        alters.append(str(given.get("label", "another net")))
    label = given.get("label", ", ".join([*words, *dict.fromkeys(alters)]))
    if not isinstance(label, str) or not label:
        raise ValueError(f"label must be text, got {label!r}")
    told = str(given["label"]) if "label" in given else _words(start, alters, label)
    tried = replace(
        fresh, label=label, kind="tried", words=told, build=build, training=training,
        start=start, method=method,
    )  # fmt: skip
    return tried, ", ".join(alters)


def _mapping(one: Tried) -> Mapping[str, Any]:
    if isinstance(one, Start):
        return {"start": one}
    if isinstance(one, Method):
        return {"method": one}
    if isinstance(one, str):
        kinds = [kind for kind in ("start", "method") if one in PARTS[kind]]
        if not kinds:
            known = [*PARTS["start"], *PARTS["method"]]
            raise ValueError(
                f"try holds {one!r}, which is no start or method{nearest(one, known)}; "
                f"there are {', '.join(known)}"
            )
        return {kinds[0]: one}
    if isinstance(one, Mapping):
        if isinstance(one.get("name"), str):
            return {**_mapping(one["name"]), next(iter(_mapping(one["name"]))): dict(one)}
        return one
    raise TypeError(
        "try must hold names, starts, methods or mappings with start, method, training, net or "
        f"build; got {one!r}"
    )


def _part(kind: str, given: Any, default: Any) -> Any:
    if given is None:
        return default
    wanted = Start if kind == "start" else Method
    return given if isinstance(given, wanted) else make_part(kind, given)


def _changes(given: Any, training: Training) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise ValueError(f"training must be a mapping of options to change, got {given!r}")
    unequal = {
        key: given[key] for key in _BUDGET if key in given and given[key] != getattr(training, key)
    }
    for key, value in unequal.items():
        raise ValueError(
            f"unequal budgets: a mitigation sets training.{key} to {value!r}, the others have "
            f"{getattr(training, key)}; all arms make the same updates on batches of one size"
        )
    changed = {key: value for key, value in given.items() if key not in _BUDGET}
    check_keys("training of a mitigation", changed, _CHANGES)
    whole = typed_options("training", Training, {**_options(training), **changed})
    return {key: whole[key] for key in changed}


def _options(training: Training) -> dict[str, Any]:
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in asdict(training).items()
    }


def named(kind: str, part: Start | Method) -> str:
    """Short name of a part with the options that are not its defaults."""
    path = f"{type(part).__module__}:{type(part).__name__}"
    short = [
        name
        for name, place in PARTS[kind].items()
        if place.partition(":")[2] == type(part).__name__
        and path.startswith(place.partition(":")[0])
    ]
    takes = inspect.signature(type(part)).parameters
    defaults = {key: parameter.default for key, parameter in takes.items()}
    options = [
        f"{key}={value}"
        for key, value in vars(part).items()
        if not key.startswith("_") and key in defaults and value != defaults[key]
    ]
    name = short[0] if short else type(part).__name__
    return f"{name}({', '.join(options)})" if options else name


def _words(start: Start, changes: Sequence[str], label: str) -> str:
    """A mitigation as a sentence begins with it; its label where there are no words for it."""
    if isinstance(start, ResetGroups) and not changes:
        if start.names is not None:
            return f"resetting {' and '.join(start.names)}"
        which = "group" if start.k == 1 else f"{_COUNTS.get(start.k or 0, start.k)} groups"
        return f"resetting the last {which}"
    if isinstance(start, ShrinkPerturb) and not changes:
        return f"shrinking weights to {start.shrink:g} of them and perturbing"
    if type(start) is Start and len(changes) == 1 and changes[0].startswith("lr="):
        return f"a learning rate of {changes[0].removeprefix('lr=')}"
    return label


_COUNTS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight", 9: "nine"}


def _content(part: Start | Method) -> list[Any]:
    options = {k: repr(v) for k, v in vars(part).items() if not k.startswith("_")}
    return [f"{type(part).__module__}:{type(part).__qualname__}", options]
