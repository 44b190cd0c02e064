"""MANSA: a switch between a centralised and an independent learner."""
