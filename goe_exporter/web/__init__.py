"""The live page, the JSON API, and the /metrics and health endpoints."""
