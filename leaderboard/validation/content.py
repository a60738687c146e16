"""What a file is, by its first bytes, whatever its name says."""

from __future__ import annotations

from leaderboard.validation.refusal import Refusal

HEAD = 512  # bytes that `kind_of` wants to see

# (first bytes, what they are), from the formats' specifications
SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "a zip archive (the format of .pt files and of .npz)"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a zstandard archive"),
    (b"\x04\x22\x4d\x18", "an lz4 archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-zip archive"),
    (b"Rar!", "a rar archive"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"GGUF", "a GGUF model"),
    (b"PAR1", "a Parquet file"),
    (b"\x7fELF", "an executable"),
    (b"MZ", "an executable"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "an image"),
    (b"version https://git-lfs", "a pointer of Git LFS instead of the file it points to"),
)
PICKLES = tuple(bytes([0x80, version]) for version in range(2, 6))  # PROTO opcode
TEXTS = ("<!doctype", "<html", "<?xml", "<head", "<script")


def kind_of(head: bytes) -> str | None:
    """What the first bytes of a file say it is, where that is none of the accepted formats."""
    if not head:
        return "an empty file"
    if len(head) > 9 and head[8:9] == b"{" and head[:8] != b"\x00" * 8:
        return None  # a safetensors header follows its length
    for signature, kind in SIGNATURES:
        if head.startswith(signature):
            return kind
    if head.startswith(PICKLES):
        return "a Python pickle"
    if head[257:262] == b"ustar":
        return "a tar archive"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(tuple(mark.encode() for mark in TEXTS)):
        return "a web page"
    if text.startswith((b"(dp", b"(lp", b"c__", b"cposix\n", b"cos\n", b"cbuiltins\n")):
        return "a Python pickle"
    return None


def refuse_other_content(head: bytes, name: str, wanted: str, remedy: str) -> None:
    """Refuse a file whose first bytes are those of another format.

    Raises:
        Refusal: an empty file, a pickle, an archive, a web page, ...
    """
    kind = kind_of(head)
    if kind is not None:
        raise Refusal(name, "content", f"this is {kind}, not {wanted}", remedy)
