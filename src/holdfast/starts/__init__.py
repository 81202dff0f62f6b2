from holdfast.starts.fresh import Fresh as Fresh
from holdfast.starts.start import CarryOn as CarryOn
from holdfast.starts.start import Start as Start
