"""Logs and CSVs to samples, samples and outcomes to a record, records to a run directory and to perf.csv."""
