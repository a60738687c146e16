"""The pointcloud tasks."""
