"""Web application firewall: a request in, a verdict out; pure functions that know neither proxy nor engine."""
