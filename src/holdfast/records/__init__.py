from holdfast.records.environment import environment as environment
from holdfast.records.files import EventLog as EventLog
from holdfast.records.files import write_atomic as write_atomic
from holdfast.records.record import Record as Record
