"""A durable, bounded queue of lines on disk."""
