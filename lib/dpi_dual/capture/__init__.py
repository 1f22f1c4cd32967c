"""The passive side: mirror, DPI agents, flow tables, conntrack."""
