from holdfast.methods.halrp.adapted import Adapted as Adapted
from holdfast.methods.halrp.adapted import adapt as adapt
from holdfast.methods.halrp.method import HALRP as HALRP
