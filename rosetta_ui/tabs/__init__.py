"""Tabs: one file a tab; they read, call the engine and present."""
