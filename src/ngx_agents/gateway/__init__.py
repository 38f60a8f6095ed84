"""The HTTP edge: who calls, what they ask, how answers and errors look. It decides nothing about turns."""
