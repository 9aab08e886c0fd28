//! The program `portolan-supervisor`.
fn main() {}
