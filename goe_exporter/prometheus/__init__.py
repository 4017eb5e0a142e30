"""Render snapshots in the Prometheus text format and in OpenMetrics."""
