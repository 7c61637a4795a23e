"""Frozen data of madrun: card, context, topology, plan, record. No side effects live here."""
