"""The command line: verbs, and runs over many photos with a manifest, workers and resuming."""
