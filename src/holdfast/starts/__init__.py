from holdfast.starts.collect import collect as collect
from holdfast.starts.fingerprint import fingerprint as fingerprint
from holdfast.starts.fresh import Fresh as Fresh
from holdfast.starts.moments import Moments as Moments
from holdfast.starts.start import CarryOn as CarryOn
from holdfast.starts.start import Start as Start
from holdfast.starts.statistics import FeatureStatistics as FeatureStatistics
