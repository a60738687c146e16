"""The leaderboard: browse, submit, evaluate."""
