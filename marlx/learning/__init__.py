"""Mathematics of targets and losses, without networks or storage."""
