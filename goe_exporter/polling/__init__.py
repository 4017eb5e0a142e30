"""Poll each charger once per refresh interval and keep its latest snapshot."""
