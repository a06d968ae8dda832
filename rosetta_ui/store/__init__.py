"""The disk: what a result depends on, where it lies, how it is read back. No torch, no pickles."""
