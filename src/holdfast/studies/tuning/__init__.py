from holdfast.studies.tuning.cost import Cost as Cost
from holdfast.studies.tuning.plan import Tuning as Tuning
from holdfast.studies.tuning.regrets import Regret as Regret
from holdfast.studies.tuning.regrets import regret as regret
from holdfast.studies.tuning.tune import read_tuned as read_tuned
from holdfast.studies.tuning.tune import tune as tune
from holdfast.studies.tuning.tune import tune_richness as tune_richness
from holdfast.studies.tuning.tuned import Tuned as Tuned
