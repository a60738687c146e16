"""A leaderboard seen from outside: signing in, sending, following."""
