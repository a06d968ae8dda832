"""Editing: targets, losses and optimisation of latents."""
