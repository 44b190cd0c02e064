"""Storage of what learners learn from: replay buffers, episodes, minibatches."""
