"""Archives that would write elsewhere, or too much, are refused before a byte is written."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest

from benchmark.errors import SslBenchError
from benchmark.unpack import unpack


def tar_with(path: Path, *members: tuple[str, bytes | tarfile.TarInfo]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members:
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("suffix", ["zip", "tar.gz"])
def test_a_sound_archive_comes_out_without_its_first_folder(tmp_path: Path, suffix: str) -> None:
    archive, folder = tmp_path / f"set.{suffix}", tmp_path / "set"
    if suffix == "zip":
        with zipfile.ZipFile(archive, "w") as opened:
            opened.writestr("SET-1.0/meta.csv", "a,b")
            opened.writestr("SET-1.0/audio/x.wav", b"\1\2")
    else:
        tar_with(archive, ("./SET-1.0/meta.csv", b"a,b"), ("./SET-1.0/audio/x.wav", b"\1\2"))
    unpack(archive, folder, strip=1)
    assert (folder / "meta.csv").read_text() == "a,b"
    assert (folder / "audio" / "x.wav").read_bytes() == b"\1\2"
    assert sorted(path.name for path in folder.rglob("*")) == ["audio", "meta.csv", "x.wav"]


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/tmp/evil", "C:\\evil", "..\\evil"])
def test_a_member_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("fine", "x")
        opened.writestr(name, "x")
    with pytest.raises(SslBenchError, match="leads out of the folder; nothing was unpacked"):
        unpack(archive, tmp_path / "into")
    assert not (tmp_path / "into").exists()


@pytest.mark.parametrize(
    ("kind", "words"),
    [(tarfile.SYMTYPE, "a link"), (tarfile.LNKTYPE, "a link"), (tarfile.CHRTYPE, "a device")],
)
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes, words: str) -> None:
    archive = tar_with(
        tmp_path / "a.tgz", ("fine", b"x"), ("", special("link", kind, "../../etc/passwd"))
    )
    with pytest.raises(SslBenchError, match=words):
        unpack(archive, tmp_path / "into")
    assert not (tmp_path / "into").exists()


def test_a_zip_with_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as opened:
        opened.writestr(info, "/etc")
    with pytest.raises(SslBenchError, match="a link"):
        unpack(tmp_path / "a.zip", tmp_path / "into")


def test_a_link_that_is_there_already_is_not_followed(tmp_path: Path) -> None:
    folder, outside = tmp_path / "into", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (folder / "audio").symlink_to(outside)
    archive = tar_with(tmp_path / "a.tgz", ("audio/x.wav", b"x"))
    with pytest.raises(SslBenchError, match="through a link"):
        unpack(archive, folder)
    assert not list(outside.iterdir())


def test_a_bomb_is_refused_by_what_it_states_and_by_what_it_holds(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("zeros", bytes(3_000_000))
    with pytest.raises(SslBenchError, match="3000000 bytes: more than 1000000"):
        unpack(archive, tmp_path / "into", limit=1_000_000)
    packed = tmp_path / "zeros.gz"
    packed.write_bytes(gzip.compress(bytes(3_000_000)))
    with pytest.raises(SslBenchError, match="more bytes than"):
        unpack(packed, tmp_path / "into", limit=1_000_000)
    assert not (tmp_path / "into" / "zeros").exists()


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.gz"])
def test_a_cut_archive_is_named(tmp_path: Path, name: str) -> None:
    archive = tmp_path / name
    if name == "a.zip":
        with zipfile.ZipFile(archive, "w") as opened:
            opened.writestr("x", bytes(1000))
    elif name == "a.gz":
        archive.write_bytes(gzip.compress(bytes(range(256)) * 50))
    else:
        tar_with(archive, ("x", bytes(range(256)) * 50))
    archive.write_bytes(archive.read_bytes()[:90])
    with pytest.raises(SslBenchError, match=r"a\..* is damaged"):
        unpack(archive, tmp_path / "into")


def split_zip(members: dict[str, bytes], size: int) -> list[bytes]:
    """A split zip as Info-ZIP writes it: members stored, headers counted from their own volume, the
    directory in the last one (APPNOTE.TXT 8.5)."""
    volumes, directory = [bytearray(b"PK\7\10")], b""
    for name, content in members.items():
        if len(volumes[-1]) >= size:
            volumes.append(bytearray())
        raw = name.encode()
        facts = (zlib.crc32(content), len(content), len(content), len(raw), 0)
        place = struct.pack("<HHHLL", 0, len(volumes) - 1, 0, 0, len(volumes[-1]))
        directory += struct.pack("<4s6H3L2H", b"PK\1\2", 20, 20, 0, 0, 0, 33, *facts)
        directory += place + raw
        header = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 33, *facts) + raw
        rest = header + content
        room = max(len(header), size - len(volumes[-1]))
        volumes[-1] += rest[:room]
        for begin in range(room, len(rest), size):
            volumes.append(bytearray(rest[begin : begin + size]))
    last, count, at = len(volumes) - 1, len(members), len(volumes[-1])
    end = struct.pack("<4s4H2LH", b"PK\5\6", last, last, count, count, len(directory), at, 0)
    volumes[-1] += directory + end
    return [bytes(volume) for volume in volumes]


def test_a_split_zip_is_unpacked(tmp_path: Path) -> None:
    members = {f"SET/{number}.bin": bytes([number]) * 700 for number in range(9)}
    volumes = split_zip(members, 1000)
    assert len(volumes) > 5
    archive, folder = tmp_path / "whole.zip", tmp_path / "set"
    archive.write_bytes(b"".join(volumes))
    unpack(archive, folder, 1, pieces=[len(volume) for volume in volumes])
    assert {f"SET/{path.name}": path.read_bytes() for path in folder.iterdir()} == members


def test_a_split_zip_that_lacks_a_volume_is_refused(tmp_path: Path) -> None:
    volumes = split_zip({f"{number}.bin": bytes(700) for number in range(9)}, 1000)
    del volumes[2]
    archive = tmp_path / "whole.zip"
    archive.write_bytes(b"".join(volumes))
    with pytest.raises(SslBenchError, match=r"damaged \(it is of \d+ volumes"):
        unpack(archive, tmp_path / "set", pieces=[len(volume) for volume in volumes])
