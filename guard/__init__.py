"""Guard: a safety-monitoring proxy for autonomous agents.

Nothing is imported here: every room is loaded by whoever needs it, so that `guard run` starts quickly.
"""

__version__ = "0.1.0"
