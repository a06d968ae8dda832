"""Widgets: factories over `gr.HTML` with their own script and style files."""
