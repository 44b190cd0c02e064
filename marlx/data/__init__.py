"""Storage that learners draw from: replay, episodes, minibatches."""
