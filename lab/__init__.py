"""A router on any Linux box: namespaces, traffic, a DPI agent and a gateway, for running and testing the suite."""
