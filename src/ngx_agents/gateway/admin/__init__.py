"""What only an operator may see and change."""
