"""The model client: neutral content types, dialects, transports, credentials, and an emulator of the service."""
