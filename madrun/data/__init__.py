"""Data by name: data.json, providers, mirrors."""
