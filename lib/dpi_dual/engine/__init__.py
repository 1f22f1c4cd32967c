"""The daemon: supervision, reload, control socket, snapshots."""
