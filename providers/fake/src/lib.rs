//! A cloud in memory, with faults on request; the provider conformance suite
