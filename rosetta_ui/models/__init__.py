"""Models: cards, weights and the networks. `registry` and `catalogue` are torch-free."""
