"""What tests of richness share."""

import pytest

import holdfast


@pytest.fixture(scope="module")
def batch():
    """A few digits, in float64."""
    digits = holdfast.digits()
    return digits.normalize(digits.train.x[:40]).double(), digits.train.y[:40]
