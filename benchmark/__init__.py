"""ssl-bench: how good is a frozen encoder on real domain tasks, and is the difference real?"""

__version__ = "0.1.0"
