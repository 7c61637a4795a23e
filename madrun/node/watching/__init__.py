"""What is looked at while a script runs."""
