"""Off-policy actor-critics: IDDPG, MADDPG, FACMAC, ISAC, MASAC, HASAC."""
