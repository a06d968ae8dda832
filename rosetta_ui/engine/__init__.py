"""The engine: everything that the page and the command line ask for."""
