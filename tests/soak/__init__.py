"""A soak on a compressed clock: the exporter as it is shipped, faults without end, and books."""
