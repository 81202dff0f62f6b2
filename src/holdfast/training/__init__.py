from holdfast.training.checkpoint import load_checkpoint as load_checkpoint
from holdfast.training.checkpoint import save_checkpoint as save_checkpoint
from holdfast.training.evaluation import Evaluator as Evaluator
from holdfast.training.evaluation import Scores as Scores
from holdfast.training.losses import cross_entropy as cross_entropy
from holdfast.training.losses import mse as mse
from holdfast.training.options import Training as Training
