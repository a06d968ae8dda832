"""Matching: correlation tables, their nulls, and the rules that pick neurons from them."""
