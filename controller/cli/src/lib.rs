//! The command line: the one place that names every provider
