"""The model client: neutral content, dialects, transports, credentials, an emulator of the service."""
