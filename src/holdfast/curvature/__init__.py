from holdfast.curvature.fisher import FisherKind as FisherKind
from holdfast.curvature.fisher import diagonal_fisher as diagonal_fisher
from holdfast.curvature.likelihood import Likelihood as Likelihood
from holdfast.curvature.registry import Rule as Rule
from holdfast.curvature.registry import rule as rule
