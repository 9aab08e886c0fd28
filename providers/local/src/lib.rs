//! This machine as a target: adapter from the provider contract to the supervisor
