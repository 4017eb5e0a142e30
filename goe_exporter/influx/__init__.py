"""Write points to InfluxDB through a spool on disk."""
