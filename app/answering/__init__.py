"""From a question and retrieved passages to an answer whose every sentence can be checked."""
