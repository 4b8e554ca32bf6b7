"""Content filters of the operator: what is asked of them, and the two that come with the pack."""
