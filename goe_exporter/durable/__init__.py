"""Files that survive a power cut, locks between processes, and a clock that can be trusted."""
