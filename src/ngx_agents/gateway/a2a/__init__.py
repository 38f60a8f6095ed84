"""The open protocol A2A 1.0 (and 0.3) in front of the turn engine: a task is a turn, its context the conversation.

Everything but `door` and `settings` imports the SDK (the extra `a2a`) and is itself imported on the first request.
"""
