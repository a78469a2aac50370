"""The two constraints on calls, judged: findings with their words, severities and advice. Runs nothing itself."""
