//! A seeded world around the step function.
