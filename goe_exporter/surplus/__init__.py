"""Charging with the surplus of a solar system: the decisions, without input or output."""
