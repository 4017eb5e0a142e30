"""Fuzz targets: functions that take any bytes and assert what the exporter promises of them."""
