"""The program put together: configuration, wiring, start and stop."""
