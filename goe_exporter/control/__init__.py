"""The control loop: polls and meters in, decisions of the surplus room, writes to a charger."""
