"""Telemetry exporter for go-eCharger EV wallboxes."""

__version__ = "0.1.0"
