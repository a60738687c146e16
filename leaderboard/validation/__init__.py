"""What is checked of a submitted file before anything loads it; nothing in it is ever executed."""
