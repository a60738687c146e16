"""Reading real files: pydicom's packaged echocardiogram and videos written by OpenCV."""

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.examples import get_path

from benchmark.errors import DatasetError
from benchmark.inputs import EchoInput
from tasks.echo.clips import read_clip


@pytest.fixture(scope="module")
def echocardiogram():
    return read_clip(get_path("ybr_color"))


def write_video(path, video, fps=25.0):
    import cv2

    code = {"avi": "MJPG", "mp4": "mp4v"}[path.suffix[1:]]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), fps, video.shape[2:0:-1])
    for frame in video:
        writer.write(np.repeat(frame[..., None], 3, 2))
    writer.release()
    return path


@pytest.fixture
def moving():
    video = np.zeros((12, 48, 64), np.uint8)
    for i, frame in enumerate(video):
        frame[10:30, 2 * i : 2 * i + 20] = 200
    return video


def saved(tmp_path, **changes):
    header = dcmread(get_testdata_file("SC_rgb_rle_2frame.dcm"))
    header.decompress()
    for name, value in changes.items():
        if value is None:
            delattr(header, name)
        else:
            setattr(header, name, value)
    header.save_as(tmp_path / "clip.dcm")
    return tmp_path / "clip.dcm"


def grey_clip(tmp_path, pixels, bits, photometric):
    wide = pixels.astype(np.uint16 if bits > 8 else np.uint8)
    return saved(
        tmp_path, SamplesPerPixel=1, PlanarConfiguration=None, NumberOfFrames=len(pixels),
        Rows=pixels.shape[1], Columns=pixels.shape[2], BitsAllocated=16 if bits > 8 else 8,
        BitsStored=bits, HighBit=bits - 1, PhotometricInterpretation=photometric,
        PixelData=wide.tobytes(),
    )  # fmt: skip


def test_real_echocardiogram_is_read_in_colour_at_its_rate(echocardiogram):
    video = echocardiogram["video"]
    assert video.shape == (30, 240, 320, 3)
    assert video.dtype == np.uint8
    assert echocardiogram["fps"] == pytest.approx(30, abs=0.01)
    sector = video[:, 60:180, 100:220].astype(float)
    assert np.ptp(sector, axis=-1).mean() < 3  # tissue is grey once YBR has become RGB
    assert np.abs(np.diff(sector, axis=0)).mean() > 1  # and it moves


def test_real_and_simulated_clips_go_through_one_input_specification(echocardiogram):
    from tasks.echo.echo_sim import clip

    simulated, _, fps, _ = clip(0, "A4C")
    examples = [echocardiogram, {"video": simulated, "fps": fps}]
    spec = EchoInput(size=64, fps=15.0, frames=20)
    windows = [spec.windows(example)[0] for example in examples]
    batch = spec.collate(windows)
    assert batch["video"].shape[:2] == (2, 1)
    assert batch["video"].shape[3:] == (64, 64)
    assert batch["lengths"].tolist() == [15, min(20, round(20 / fps * 15 + 0.5))]
    assert float(batch["video"].min()) >= 0
    assert float(batch["video"].max()) <= 1


@pytest.mark.parametrize("suffix", ["avi", "mp4"])
def test_videos_are_read_back(tmp_path, moving, suffix):
    read = read_clip(write_video(tmp_path / f"clip.{suffix}", moving))
    assert read["fps"] == pytest.approx(25)
    video = read["video"].astype(float)
    grey = video.mean(-1) if video.ndim == 4 else video
    assert grey.shape == moving.shape
    assert np.abs(grey - moving).mean() < 6


@pytest.mark.parametrize(
    ("changes", "fps"),
    [
        ({"FrameTime": 40}, 25.0),
        ({"FrameTimeVector": [0, 20]}, 50.0),
        ({"CineRate": 48}, 48.0),
        ({"RecommendedDisplayFrameRate": 33}, 33.0),
        ({}, 0.0),
    ],
)
def test_frame_rate_comes_from_the_cine_module(tmp_path, changes, fps):
    assert read_clip(saved(tmp_path, **changes))["fps"] == pytest.approx(fps)


def test_grey_scale_is_inverted_and_narrowed_where_the_file_says_so(tmp_path):
    pixels = np.array([[[0, 4095], [2048, 16]]] * 2)
    high = read_clip(grey_clip(tmp_path, pixels, 12, "MONOCHROME2"))["video"]
    assert high[0].tolist() == [[0, 255], [128, 1]]
    low = read_clip(grey_clip(tmp_path, pixels // 16, 8, "MONOCHROME1"))["video"]
    assert low[0].tolist() == [[255, 0], [127, 254]]


def test_bad_files_have_one_clear_error(tmp_path, moving):
    whole = get_path("ybr_color").read_bytes()
    films = {name: write_video(tmp_path / f"whole.{name}", moving) for name in ("avi", "mp4")}
    bad = {
        "cut.dcm": (whole[: len(whole) // 2], "cut short"),
        "header.dcm": (whole[:400], "pixel data"),
        "notes.txt": (b"text", "neither a DICOM file nor a video"),
        "words.avi": (b"text" * 100, "not a readable video"),
        "cut.avi": (films["avi"].read_bytes()[: films["avi"].stat().st_size // 2], "cut short"),
        "cut.mp4": (films["mp4"].read_bytes()[: films["mp4"].stat().st_size // 2], "cut short"),
    }
    for name, (content, words) in bad.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DatasetError, match=words) as caught:
            read_clip(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_still_image_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="still image"):
        read_clip(get_testdata_file("CT_small.dcm"))
    with pytest.raises(DatasetError, match="no such file"):
        read_clip(tmp_path / "missing.dcm")
