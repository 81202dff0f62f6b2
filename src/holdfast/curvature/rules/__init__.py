from holdfast.curvature.rules import activation as activation
from holdfast.curvature.rules import conv as conv
from holdfast.curvature.rules import embedding as embedding
from holdfast.curvature.rules import heads as heads
from holdfast.curvature.rules import linear as linear
from holdfast.curvature.rules import norm as norm
