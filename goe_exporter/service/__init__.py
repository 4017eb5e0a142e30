"""The long-running process: configuration, reload, start and stop."""
