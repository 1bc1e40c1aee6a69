"""Prefect flows; only this folder knows Prefect."""
