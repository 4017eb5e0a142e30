"""The long-running process: configuration, start, stop and reload."""
