"""Errors that are shown to the user as one line, without a traceback."""


class SslBenchError(Exception):
    """Bad input or a missing resource; the message names the file, the field and the remedy."""


class DatasetError(SslBenchError):
    """A dataset that is missing, incomplete or damaged."""


class EncoderError(SslBenchError):
    """An encoder that cannot be found, loaded or run, or that breaks the encoder contract."""


class DeviceMemoryError(EncoderError):
    """A batch does not fit into the device's memory."""
