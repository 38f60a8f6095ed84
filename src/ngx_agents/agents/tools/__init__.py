"""What the specialists compute by themselves, without a model: plans, menus, trends, log entries."""
