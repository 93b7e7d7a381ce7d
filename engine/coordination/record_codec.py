"""The primitives of Kafka's binary formats, as the records of the internal topics use them.

A key and a value each begin with an int16: the kind of record (keys) or the version of its schema (values). Older schemas have int16
and int32 lengths; flexible ones (KIP-482) have compact lengths (a varint, one more than the length, 0 for null) and end in tagged
fields. Sources: ``MessageGenerator``'s ``Readable`` and ``Writable``, ``ByteBufferAccessor``.
"""

from __future__ import annotations

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field

_I8, _I16, _I32, _I64 = struct.Struct(">b"), struct.Struct(">h"), struct.Struct(">i"), struct.Struct(">q")
UUID_BYTES = 16


class RecordFormatError(Exception):
    """Bytes that are no record of this kind: cut short, or a length that lies."""


@dataclass(slots=True)
class Writer:
    """Collects fields in order; ``done`` joins them."""

    parts: list[bytes] = field(default_factory=list)

    def done(self) -> bytes:
        return b"".join(self.parts)

    def int8(self, value: int) -> Writer:
        self.parts.append(_I8.pack(value))
        return self

    def int16(self, value: int) -> Writer:
        self.parts.append(_I16.pack(value))
        return self

    def int32(self, value: int) -> Writer:
        self.parts.append(_I32.pack(value))
        return self

    def int64(self, value: int) -> Writer:
        self.parts.append(_I64.pack(value))
        return self

    def string(self, value: str | None) -> Writer:
        """int16 length, -1 for null."""
        if value is None:
            return self.int16(-1)
        raw = value.encode("utf-8", "replace")
        self.parts += (_I16.pack(len(raw)), raw)
        return self

    def data(self, value: bytes | None) -> Writer:
        """int32 length, -1 for null."""
        if value is None:
            return self.int32(-1)
        self.parts += (_I32.pack(len(value)), value)
        return self

    def array(self, length: int) -> Writer:
        """The length of an array whose items the caller writes next; -1 for null."""
        return self.int32(length)

    # -- flexible versions

    def uvarint(self, value: int) -> Writer:
        rest = bytearray()
        while value > 0x7F:
            rest.append(value & 0x7F | 0x80)
            value >>= 7
        rest.append(value)
        self.parts.append(bytes(rest))
        return self

    def compact_string(self, value: str | None) -> Writer:
        return self.compact_data(None if value is None else value.encode("utf-8", "replace"))

    def compact_data(self, value: bytes | None) -> Writer:
        if value is None:
            return self.uvarint(0)
        self.uvarint(len(value) + 1)
        self.parts.append(value)
        return self

    def compact_array(self, length: int) -> Writer:
        """-1 for null."""
        return self.uvarint(length + 1)

    def uuid(self, text: str) -> Writer:
        """From Kafka's text form, 22 characters of URL-safe base64; "" is the zero UUID."""
        self.parts.append(urlsafe_b64decode(text + "==") if text else bytes(UUID_BYTES))
        return self

    def tags(self) -> Writer:
        """No tagged fields."""
        self.parts.append(b"\x00")
        return self


@dataclass(slots=True)
class Reader:
    """Reads fields in order. Raises RecordFormatError where the bytes end too soon."""

    content: bytes
    position: int = 0

    def _fixed(self, form: struct.Struct) -> int:
        try:
            (value,) = form.unpack_from(self.content, self.position)
        except struct.error:
            raise RecordFormatError(f"{len(self.content)} bytes end inside a field") from None
        self.position += form.size
        return int(value)

    def int8(self) -> int:
        return self._fixed(_I8)

    def int16(self) -> int:
        return self._fixed(_I16)

    def int32(self) -> int:
        return self._fixed(_I32)

    def int64(self) -> int:
        return self._fixed(_I64)

    def _take(self, length: int) -> bytes:
        end = self.position + length
        if length < 0 or end > len(self.content):
            raise RecordFormatError(f"a field of {length} bytes does not fit {len(self.content)}")
        raw = self.content[self.position : end]
        self.position = end
        return raw

    def nullable_string(self) -> str | None:
        length = self.int16()
        return None if length < 0 else self._take(length).decode("utf-8", "replace")

    def string(self) -> str:
        return self.nullable_string() or ""

    def data(self) -> bytes:
        length = self.int32()
        return b"" if length < 0 else self._take(length)

    def array(self) -> int:
        """The number of items that follow; none for null."""
        return max(self.int32(), 0)

    def uvarint(self) -> int:
        value = shift = 0
        while True:
            byte = self._take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 28:
                raise RecordFormatError("a varint of more than five bytes")

    def nullable_compact_string(self) -> str | None:
        length = self.uvarint() - 1
        return None if length < 0 else self._take(length).decode("utf-8", "replace")

    def compact_string(self) -> str:
        return self.nullable_compact_string() or ""

    def compact_data(self) -> bytes:
        length = self.uvarint() - 1
        return b"" if length < 0 else self._take(length)

    def compact_array(self) -> int:
        return max(self.uvarint() - 1, 0)

    def uuid(self) -> str:
        raw = self._take(UUID_BYTES)
        return urlsafe_b64encode(raw).decode("ascii").rstrip("=") if any(raw) else ""

    def tags(self) -> None:
        """Skips tagged fields."""
        for _ in range(self.uvarint()):
            self.uvarint()
            self._take(self.uvarint())
