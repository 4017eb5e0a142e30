"""Fuzz targets: functions of arbitrary bytes that assert the exporter's guarantees."""
