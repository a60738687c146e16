"""The six domains, in the order in which they are shown."""

MODALITIES = ("audio", "pointcloud", "echo", "ecg", "histopathology", "astronomy")

TITLES = {
    "audio": "Audio",
    "pointcloud": "Point clouds",
    "echo": "Echo",
    "ecg": "ECG",
    "histopathology": "Histopath.",
    "astronomy": "Astronomy",
}
