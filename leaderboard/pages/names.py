"""How things are called on the site."""

DOMAIN_TITLES = {
    "audio": "Audio",
    "pointcloud": "Point clouds",
    "echo": "Echocardiography",
    "ecg": "ECG",
    "histopathology": "Histopathology",
    "astronomy": "Astronomy",
    "overall": "All six domains",
}
SHORT_TITLES = {**DOMAIN_TITLES, "echo": "Echo", "histopathology": "Histopath.", "overall": "Mean"}
KINDS = {
    "features": "classical features",
    "control": "untrained control",
    "pretrained": "pretrained",
    "adapter": "pretrained",
}
SIZE_TITLES = {
    "none": "no learned weights",
    "under-1m": "below 1 M",
    "1m-10m": "1 to 10 M",
    "10m-100m": "10 to 100 M",
    "over-100m": "100 M and more",
}
