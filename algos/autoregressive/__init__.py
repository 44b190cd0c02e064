"""MAT and Sable: policies in which each agent knows the actions of the agents before it."""
