import math

import pytest

from holdfast.methods import AGEM, EWC, DERpp, LwF, Replay
from holdfast.methods.arguments import check_choice, check_number, check_positive_integer
from holdfast.methods.memory import Selection


def test_positive_integer() -> None:
    check_positive_integer("memory", 3)
    with pytest.raises(ValueError, match="memory must be a positive integer, got -2"):
        check_positive_integer("memory", -2)
    with pytest.raises(TypeError, match="memory must be an integer, got True"):
        check_positive_integer("memory", True)


@pytest.mark.parametrize("value", [-0.1, math.inf, math.nan])
def test_number(value: float) -> None:
    check_number("alpha", 0.0)
    with pytest.raises(ValueError, match="alpha must be a number of at least 0, got"):
        check_number("alpha", value)


def test_number_bounds() -> None:
    check_number("decay", 1.0, to=1.0)
    with pytest.raises(ValueError, match=r"decay must be a number of at least 0 and at most 1\.0"):
        check_number("decay", 1.5, to=1.0)
    with pytest.raises(ValueError, match="temperature must be a number above 0, got 0"):
        check_number("temperature", 0.0, positive=True)


def test_choice() -> None:
    check_choice("selection", "reservoir", Selection)
    with pytest.raises(ValueError, match="one of reservoir, class_balanced; got 'newest'"):
        check_choice("selection", "newest", Selection)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Replay(memory=0), "memory"),
        (lambda: Replay(batch_size=0), "batch_size"),
        (lambda: Replay(weight=-1.0), "weight"),
        (lambda: DERpp(memory=-1), "memory"),
        (lambda: DERpp(alpha=-1.0), "alpha"),
        (lambda: DERpp(beta=math.nan), "beta"),
        (lambda: DERpp(batch_size=-4), "batch_size"),
        (lambda: AGEM(memory=0), "memory"),
        (lambda: AGEM(batch_size=0), "batch_size"),
        (lambda: EWC(strength=-1.0), "strength"),
        (lambda: EWC(decay=1.5), "decay"),
        (lambda: LwF(strength=-1.0), "strength"),
        (lambda: LwF(temperature=0.0), "temperature"),
    ],
)
def test_methods_name_the_option_they_refuse(make, named: str) -> None:
    with pytest.raises(ValueError, match=f"^{named} must be"):
        make()


def test_methods_print_their_options() -> None:
    assert repr(Replay(memory=9)) == (
        "Replay(memory=9, selection='reservoir', batch_size=None, weight=None)"
    )
