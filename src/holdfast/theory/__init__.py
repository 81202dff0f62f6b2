from holdfast.theory.activation import Activation as Activation
from holdfast.theory.problem import Problem as Problem
from holdfast.theory.problem import absolute_gamma0 as absolute_gamma0
from holdfast.theory.problem import base_width_gamma0 as base_width_gamma0
from holdfast.theory.problem import problem as problem
from holdfast.theory.schedule import Schedule as Schedule
from holdfast.theory.solution import Solution as Solution
