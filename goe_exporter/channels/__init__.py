"""What a charger can report and what can be set on it: the channel table, and decoding by it."""
