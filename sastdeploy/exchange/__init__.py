"""Other people's formats: what a program becomes for them, and what of theirs becomes ours."""
