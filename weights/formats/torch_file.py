"""What a PyTorch file lists: names, types, shapes and places of its tensors, read without the tensors or running it.

Format: https://github.com/pytorch/pytorch/blob/main/docs/source/notes/serialization.rst (BSD): a zip archive, stored
without compression, of one pickle and the bytes of each storage. The limits are explained in docs/decisions/0007.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
from itertools import pairwise

from .header import BITS, FOREIGN, DamageError, ForeignError, Header, TensorInfo, refuse_foreign
from .pickled import Storage, listed_tensors

MAX_READ = 1_000_000  # bytes at once; the zip directory and the pickle of a 14B expert have 0.2 million each


def read_torch(file: io.FileIO, total: int) -> Header:
    """Lists the tensors of a PyTorch file of `total` bytes; DamageError if it is not whole, or holds more."""
    _refuse_other_formats(file)
    archive = _Archive(file, total)
    listed = listed_tensors(archive.pickle())
    places = archive.places({tensor.storage for tensor in listed.values()})
    tensors = {}
    for name, tensor in listed.items():
        begin = places[tensor.storage.key] + tensor.offset if tensor.in_row_order else None
        length = math.prod(tensor.shape) * BITS[tensor.dtype] // 8
        tensors[name] = TensorInfo(tensor.dtype, tensor.shape, begin, length)
    return Header(tensors, {})


def _refuse_other_formats(file: io.FileIO) -> None:
    start = file.read(16)
    refuse_foreign(start, FOREIGN)
    if start[8:9] == b"{":
        raise ForeignError("it is a safetensors file with another suffix. Rename it to end in .safetensors")
    if start.startswith(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"):
        raise ForeignError("it has the format that PyTorch wrote before version 1.6. Choose its safetensors version")
    if not start.startswith(b"PK\x03\x04"):
        raise DamageError("it does not begin as a zip archive")


class _Frugal(io.RawIOBase):
    """A file that does not give out more than `MAX_READ` bytes at once, whatever its zip directory claims."""

    def __init__(self, file: io.FileIO, total: int) -> None:
        self.file = file
        self.total = total

    def seek(self, offset: int, whence: int = 0, /) -> int:
        if whence == 0 and not 0 <= offset <= self.total:
            raise DamageError("its zip directory points to nothing")
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()

    def read(self, size: int = -1, /) -> bytes:
        left = max(self.total - self.tell(), 0)
        wanted = left if size < 0 else min(size, left)
        if wanted > MAX_READ:
            raise DamageError(f"its list of tensors has {wanted} bytes, at most {MAX_READ} are allowed")
        return self.file.read(wanted)


class _Archive:
    """The zip archive: a folder of any name with `data.pkl`, and `data/KEY` for the bytes of each storage."""

    def __init__(self, file: io.FileIO, total: int) -> None:
        self.file = _Frugal(file, total)
        self.total = total
        try:
            with zipfile.ZipFile(self.file) as archive:
                listed = archive.infolist()
        except DamageError:
            raise
        except _ZIP_ERRORS as err:
            raise DamageError("its zip directory is damaged or cut off") from err
        self.records = {info.filename: info for info in listed}
        if len(self.records) < len(listed):
            raise DamageError("a name occurs twice in its zip directory")
        self.folder = self._folder()
        if self.folder + "byteorder" in self.records and self._small("byteorder") != b"little":
            raise ForeignError("its numbers have the byte order of another kind of machine. Choose another version")

    def _folder(self) -> str:
        pickles = [name for name in self.records if name.endswith("/data.pkl")]
        if len(pickles) != 1 or pickles[0].count("/") != 1:
            raise ForeignError("it is a zip archive without the tensors of a model. Choose the model file itself")
        folder = pickles[0].removesuffix("data.pkl")
        if folder + "constants.pkl" in self.records:
            raise ForeignError("it is a TorchScript program. Choose its safetensors version")
        return folder

    def pickle(self) -> bytes:
        """Returns the program that lists the tensors."""
        return self._small("data.pkl")

    def _small(self, name: str) -> bytes:
        begin, length = self._place(self.records[self.folder + name])
        self.file.seek(begin)
        return self.file.read(length)

    def places(self, storages: set[Storage]) -> dict[str, int]:
        """Returns where each storage begins in the file."""
        places, spans = {}, []
        for storage in storages:
            record = self.records.get(f"{self.folder}data/{storage.key}")
            if record is None:
                raise DamageError("the bytes of a tensor are missing")
            places[storage.key], length = self._place(record)
            if length != storage.length:
                raise DamageError("the bytes of a tensor are not as many as its type and shape need")
            spans.append((places[storage.key], places[storage.key] + length))
        if any(begin < last for (_, last), (begin, _) in pairwise(sorted(spans))):
            raise DamageError("its tensors overlap")
        return places

    def _place(self, record: zipfile.ZipInfo) -> tuple[int, int]:
        """Returns where a record's bytes begin, and how many they are."""
        if record.compress_type != zipfile.ZIP_STORED or record.flag_bits & 1:
            raise ForeignError("it is compressed or encrypted, which PyTorch does not do. Choose another version")
        self.file.seek(record.header_offset)
        local = self.file.read(_LOCAL_HEADER.size)
        if len(local) < _LOCAL_HEADER.size or not local.startswith(b"PK\x03\x04"):
            raise DamageError("its zip directory points to nothing")
        begin = record.header_offset + _LOCAL_HEADER.size + sum(_LOCAL_HEADER.unpack(local))
        if begin + record.file_size > self.total:
            raise DamageError("it ends within its tensors")
        return begin, record.file_size


_LOCAL_HEADER = struct.Struct("<26xHH")  # the lengths of the name and of the extra field, which follow it
_ZIP_ERRORS = (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, EOFError, struct.error)
