from holdfast.studies.good_start.analysis import StartAnalysis as StartAnalysis
from holdfast.studies.good_start.conditions import Condition as Condition
from holdfast.studies.good_start.conditions import conditions_of as conditions_of
from holdfast.studies.good_start.courses import StartCourse as StartCourse
from holdfast.studies.good_start.courses import start_courses as start_courses
from holdfast.studies.good_start.measures import StartMeasures as StartMeasures
from holdfast.studies.good_start.measures import measured as measured
