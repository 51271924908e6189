"""The read side: snapshots that every surface shows alike."""
