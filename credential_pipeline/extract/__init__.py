"""Stage 1: source systems -> landed rows, with where each row came from. Nothing is judged and nothing is changed."""
