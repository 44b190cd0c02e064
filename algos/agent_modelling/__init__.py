"""CLAM and LIAM: PPO with a model of the other agents."""
