"""One record, many forms: terminal tables, JSON, figures."""
