"""What people write about a submission: bounded, printable, and nothing that runs."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from leaderboard.accounts.texts import printable

SCHEME = re.compile(r"^\s*[a-z][a-z0-9+.-]*:", re.IGNORECASE)
LINKS = ("http://", "https://", "doi:", "arxiv:")
MAX_OPTIONS = 2_000  # characters of the input options as JSON


def printable_lines(text: str) -> str:
    """The same for several lines."""
    return "\n".join(printable(line) for line in text.replace("\r\n", "\n").split("\n")).strip()


def harmless_link(text: str) -> str:
    """A reference in words, or a link that opens a page and nothing else."""
    text = printable(text)
    if SCHEME.match(text) and not text.lower().startswith(LINKS):
        raise ValueError("a link begins with https://, http://, doi: or arXiv:")
    return text


def named(text: str) -> str:
    text = printable(text)
    if not any(character.isalnum() for character in text):
        raise ValueError("a name has at least one letter or digit")
    return text


Line = Annotated[str, AfterValidator(printable)]
Lines = Annotated[str, AfterValidator(printable_lines)]
Link = Annotated[str, AfterValidator(harmless_link)]
Name = Annotated[str, AfterValidator(named), Field(min_length=1, max_length=120)]


class SubmissionRequest(BaseModel):
    """A file that was uploaded, and what is to be known of it."""

    model_config = ConfigDict(extra="forbid")
    upload: str = Field(pattern="^[0-9a-f]{24}$", description="id of a complete upload")
    name: Name = Field(description="of the encoder, as the site will show it", examples=["my-vit"])
    architecture: Line = Field(
        "", max_length=120, description="catalog name or timm:NAME; of a checkpoint"
    )
    modality: Line | None = Field(
        None, max_length=32, description="where architecture or file do not say it"
    )
    input_options: dict[str, Any] | None = Field(
        None, description="of an ONNX encoder, instead of those in the file"
    )
    suite: Line = Field("starter", max_length=60)
    description: Lines = Field("", max_length=4000)
    licence: Line = Field("", max_length=120)
    paper: Link = Field("", max_length=500)
    pretraining: Line = Field("", max_length=2000)
    pretraining_data: list[Annotated[Line, Field(max_length=120)]] = Field(
        default_factory=list, max_length=50, description="names of datasets"
    )
    gpu: bool = Field(False, description="evaluate on a worker with a GPU only")

    @field_validator("input_options")
    @classmethod
    def _small(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        import json

        if value is not None and len(json.dumps(value)) > MAX_OPTIONS:
            raise ValueError(f"more than {MAX_OPTIONS} characters")
        return value
