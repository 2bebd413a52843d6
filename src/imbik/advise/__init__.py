"""Which candidate to deploy, judged by scenario."""
