"""Policies: YAML in, opinions out. `load` reads files, `machine` looks at this machine, `match` judges and sees neither."""
