"""The few windows that open on top; none of them blocks."""
