"""What a turn costs: CPU, memory and start time of the real server, measured from outside.

Server, emulated model and load are processes of their own; CPU is read from the server's process clock, so what the
load generator costs is never counted. Every answer is checked: one that is not a model's whole answer fails the run.
"""
