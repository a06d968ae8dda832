"""Benchmarks: the ratios that the README quotes, runnable by anyone."""
