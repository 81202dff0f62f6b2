from holdfast.studies.theory.asked import Compared as Compared
from holdfast.studies.theory.asked import Phased as Phased
from holdfast.studies.theory.drawn import stream_points as stream_points
from holdfast.studies.theory.plan import Prediction as Prediction
from holdfast.studies.theory.predict import predict as predict
from holdfast.studies.theory.predict import read_predicted as read_predicted
from holdfast.studies.theory.predicted import Predicted as Predicted
