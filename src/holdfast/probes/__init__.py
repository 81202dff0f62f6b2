from holdfast.probes.effective_rank import EffectiveRank as EffectiveRank
from holdfast.probes.effective_rank import effective_rank as effective_rank
from holdfast.probes.probe import Before as Before
from holdfast.probes.probe import Phase as Phase
from holdfast.probes.probe import Probe as Probe
from holdfast.probes.probe import Stateful as Stateful
