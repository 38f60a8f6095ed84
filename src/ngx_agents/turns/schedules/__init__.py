"""Schedules: messages that a user has sent to the team by themselves, at a local time."""
