"""Predictions as they were served, and the labels that came later."""

from gyroscope.prediction_log.base import Joined, PredictionLog
from gyroscope.prediction_log.file_log import FileLog
from gyroscope.prediction_log.group_commit import GroupCommit
from gyroscope.prediction_log.memory_log import MemoryLog
from gyroscope.prediction_log.segments import Damage

__all__ = ["Damage", "FileLog", "GroupCommit", "Joined", "MemoryLog", "PredictionLog"]
