"""AMI: an adversary that influences the other agents of a team."""
