"""An encoder in an ONNX file (https://onnx.ai), run by onnxruntime.

The file's metadata may hold `modality` and `input` (JSON options of that modality's input);
`--modality` and `--input` replace them. The graph takes the modality's tensors in the order of the
encoder contract (float32; lengths int64 and optional) and gives (B, D) or (B, T', D) first.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from benchmark.errors import EncoderError


class OnnxFile(torch.nn.Module):
    """`onnx:FILE`."""

    def __init__(self, name: str, pretrained: bool = True, modality: str | None = None) -> None:
        super().__init__()
        import onnxruntime

        path = Path(name)
        if not pretrained:
            raise EncoderError(f"onnx:{name}: the weights are in the file; leave --init out")
        if not path.is_file():
            raise EncoderError(f"onnx:{name}: there is no such file")
        providers = [
            provider
            for provider in ("CUDAExecutionProvider", "CPUExecutionProvider")
            if provider in onnxruntime.get_available_providers()
        ]
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise EncoderError(
                f"onnx:{name} is not a whole ONNX model ({reason}); export it again"
            ) from error
        facts = self.session.get_modelmeta().custom_metadata_map
        self.modality = modality or facts.get("modality", "")
        if not self.modality:
            raise EncoderError(
                f"onnx:{name} does not say its modality: write `modality` into the file's metadata "
                "or pass --modality"
            )
        self.input = _input_options(name, facts.get("input", "{}"))
        if "frame_rate" in facts:
            self.frame_rate = float(facts["frame_rate"])
        digest = hashlib.sha256(path.read_bytes()).digest()
        # the engine's identity of an encoder is its state: the file's hash stands for it
        self.register_buffer("file_sha256", torch.frombuffer(bytearray(digest), dtype=torch.uint8))

    def forward(self, *inputs: torch.Tensor, **named: torch.Tensor) -> torch.Tensor:
        """The modality's tensors -> (B, D) or (B, T', D)."""
        wanted = self.session.get_inputs()
        given: dict[str, torch.Tensor] = dict(named)
        if not named:
            if len(wanted) > len(inputs):
                raise EncoderError(
                    f"the ONNX graph wants {', '.join(i.name for i in wanted)}; "
                    f"{self.modality} has {len(inputs)}"
                )
            given = {spec.name: tensor for spec, tensor in zip(wanted, inputs, strict=False)}
        feed = {spec.name: given[spec.name].cpu().numpy() for spec in wanted if spec.name in given}
        outputs = self.session.run(None, feed)
        device = next(iter(given.values())).device
        return torch.from_numpy(outputs[0]).to(device)


def _input_options(name: str, text: str) -> dict[str, Any]:
    try:
        options = json.loads(text)
    except ValueError as error:
        raise EncoderError(f"onnx:{name}: its metadata `input` is not JSON: {error}") from None
    if not isinstance(options, dict):
        raise EncoderError(f"onnx:{name}: its metadata `input` is not a JSON object")
    return options
