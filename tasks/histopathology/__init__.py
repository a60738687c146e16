"""The histopathology tasks."""
