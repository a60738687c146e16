"""The audio tasks."""
