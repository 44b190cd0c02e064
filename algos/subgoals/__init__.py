"""GMAH: learners of two levels, the upper of which chooses subgoals."""
