"""A form with files, taken in as it arrives: fields in memory, files onto disk, all bounded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fastapi import HTTPException, Request
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

if TYPE_CHECKING:
    from typing import Any

MAX_FIELDS, MAX_FIELD_BYTES, MAX_HEADER_BYTES = 40, 16_384, 4_096


@dataclass
class ReceivedFile:
    """One file of a form, of which the bytes went to the sink."""

    field_name: str
    file_name: str
    size: int = 0
    digest: Any = field(default_factory=hashlib.sha256)


class FormStream:
    """Feed it the body's blocks; it calls `on_fields(fields)` once, before the first file's bytes,
    which then go to `sink(file, bytes)`."""

    def __init__(
        self,
        request: Request,
        on_fields: Callable[[dict[str, str]], None],
        sink: Callable[[ReceivedFile, bytes], None],
    ) -> None:
        kind, options = parse_options_header(request.headers.get("content-type", ""))
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise HTTPException(415, "the form has to be sent as multipart/form-data")
        self.on_fields, self.sink = on_fields, sink
        self.fields: dict[str, str] = {}
        self.files: list[ReceivedFile] = []
        self.begun = False
        self._headers: dict[str, str] = {}
        self._name, self._value = bytearray(), bytearray()
        self._file: ReceivedFile | None = None
        self._key = ""
        self.ended = False
        self.parser = MultipartParser(
            options[b"boundary"],
            {
                "on_part_begin": self._part,
                "on_header_field": self._header_name,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_finished,
                "on_part_data": self._data,
                "on_part_end": self._part_end,
                "on_end": self._end,
            },
        )

    def feed(self, block: bytes) -> None:
        """Raises: HTTPException (400, 413): no form, or larger than allowed."""
        try:
            self.parser.write(block)
        except MultipartParseError:
            raise HTTPException(400, "the form is damaged: load the page again and retry") from None

    def finish(self) -> None:
        """Raises: HTTPException (400): the form ended early."""
        if not self.ended:
            raise HTTPException(400, "the form ended early: load the page again and retry")
        self._begin()

    def _begin(self) -> None:
        if not self.begun:
            self.begun = True
            self.on_fields(dict(self.fields))

    def _part(self) -> None:
        self._headers, self._file, self._key = {}, None, ""
        self._name.clear()
        self._value.clear()
        if len(self.fields) + len(self.files) > MAX_FIELDS:
            raise HTTPException(413, "the form has too many fields")

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._grow(self._name, data[start:end], MAX_HEADER_BYTES)

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._grow(self._value, data[start:end], MAX_HEADER_BYTES)

    def _header_end(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = self._value.decode("latin-1")
        self._name.clear()
        self._value.clear()
        if len(self._headers) > 10:
            raise HTTPException(413, "a part of the form has too many headers")

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get("content-disposition", ""))
        self._key = options.get(b"name", b"").decode("utf-8", "replace")[:100]
        if b"filename" in options:
            name = options[b"filename"].decode("utf-8", "replace")[:255]
            self._file = ReceivedFile(self._key, name)
            if name:
                self._begin()
                self.files.append(self._file)

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._file is None:
            self._grow(self._value, data[start:end], MAX_FIELD_BYTES)
        elif self._file.file_name:
            piece = data[start:end]
            self._file.size += len(piece)
            self._file.digest.update(piece)
            self.sink(self._file, piece)

    def _part_end(self) -> None:
        if self._file is None:
            if self.begun:
                raise HTTPException(400, "the form's fields have to come before its files")
            self.fields[self._key] = self._value.decode("utf-8", "replace")

    def _end(self) -> None:
        self.ended = True

    @staticmethod
    def _grow(held: bytearray, more: bytes, most: int) -> None:
        if len(held) + len(more) > most:
            raise HTTPException(413, f"a field of the form is longer than {most:,} bytes")
        held += more
