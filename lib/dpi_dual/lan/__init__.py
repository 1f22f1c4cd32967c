"""LAN analysis: clients, names, destinations, protocols, history."""
