"""The command line: one file per command. What never enters: a decision about an action; those are made in `guard`."""
