"""A stand-in for netifyd 4.4.7 on any Linux: its agent socket's wire protocol over real nDPI (nfstream's engine)."""
