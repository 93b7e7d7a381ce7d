"""What can go wrong in a log, each with the name of Kafka's error code.

A broker turns ``code`` into the number on the wire and into the meaning and cure that a learner reads; nothing else
may leave this package, whatever bytes it was fed.
"""

from __future__ import annotations


class LogError(Exception):
    """``code`` is a name from Kafka's ``Errors``, such as OFFSET_OUT_OF_RANGE."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code
        self.message = message


class CorruptBatchError(LogError):
    """Bytes that are no record batch: truncated, malformed, lying about a length, or with a wrong CRC."""

    def __init__(self, reason: str) -> None:
        super().__init__("CORRUPT_MESSAGE", reason)
        self.reason = reason


class RecordTooLargeError(LogError):
    """A batch that is, or unpacks to, more than the bound."""

    def __init__(self, message: str) -> None:
        super().__init__("MESSAGE_TOO_LARGE", message)


class UnexpectedAppendOffsetError(LogError):
    """A follower was handed a batch that begins below its log end (Kafka: ``UnexpectedAppendOffsetException``)."""

    def __init__(self, first_offset: int, last_offset: int, log_end_offset: int) -> None:
        super().__init__("UNKNOWN_SERVER_ERROR", f"batch {first_offset}..{last_offset} begins below log end {log_end_offset}")
        self.first_offset = first_offset
        self.last_offset = last_offset
