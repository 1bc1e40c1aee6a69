"""What is installed, what this machine has, and what is wrong with either: `pipeline doctor`.

Each module examines one thing and yields findings; nothing of a run is changed, and nothing is sent anywhere but to the
Prefect server that is configured. May import everything but the command line.
"""
