"""The answer for whatever was raised on the way to one."""

from __future__ import annotations

import logging
import traceback

from gyroscope.errors import LogError, NotFoundError, RequestError, RowError
from gyroscope.serve.http import Answer, error_answer, fault_answer

logger = logging.getLogger(__name__)


def answer_for(error: Exception, request_id: str) -> Answer:
    """The answer for an error; one that nobody raised on purpose is logged."""
    if isinstance(error, RequestError | RowError | LogError | NotFoundError):
        if isinstance(error, LogError):
            logger.error("request %s: %s", request_id, error)
        return error_answer(error, request_id)
    # Where it happened, without the message: that may quote values of a row.
    where = "".join(traceback.format_tb(error.__traceback__))
    logger.error("request %s failed with %s at\n%s", request_id, type(error).__name__, where)
    return fault_answer(request_id)
