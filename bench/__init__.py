"""The benchmark: Wirewright beside what else carries an app's WebSockets. `python -m bench --help`."""
