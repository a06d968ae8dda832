"""Rendering: arrays in, pictures and figures out. No torch."""
