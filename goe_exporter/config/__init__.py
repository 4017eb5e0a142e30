"""Strict YAML files, and the grammar of the values in them."""
