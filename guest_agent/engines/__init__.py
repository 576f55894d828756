"""Engine plugins, by datastore manager."""
