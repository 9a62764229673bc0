"""The pure core: actions in, verdicts out. Nothing in this room can see the world (no files, processes, clocks, sockets)."""
