"""Inversion: the latent whose picture, or whose neurons, are most like a person's own picture."""
