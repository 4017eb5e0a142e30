"""An HTTP server with TLS, passwords and limits; it knows nothing of chargers."""
