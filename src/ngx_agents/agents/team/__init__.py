"""The coaching team, as content: one folder per agent, the routing table, the safety rules."""
