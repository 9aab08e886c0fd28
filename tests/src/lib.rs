//! Cross-crate tests: end to end, command line, tidy
