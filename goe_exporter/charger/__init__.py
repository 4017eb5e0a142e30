"""Talking to one charger: its two APIs, and confirmed writes."""
