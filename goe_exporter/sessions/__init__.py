"""Charging sessions: the tracker, the store, and what becomes of them."""
