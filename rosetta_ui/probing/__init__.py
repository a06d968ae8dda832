"""Reading activations: taps on modules, and outputs as maps over positions."""
