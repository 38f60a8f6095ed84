"""Answers kept and given again: rules, keys, what is stored, the memory tier and the tier that instances share."""
