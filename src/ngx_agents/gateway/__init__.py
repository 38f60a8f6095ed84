"""The HTTP edge: who calls, what they ask, and how answers and errors look on the wire. No decisions about turns."""
