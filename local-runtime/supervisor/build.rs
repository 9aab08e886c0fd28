//! `portolan-supervisor` is static.

#[path = "../static_program.rs"]
mod static_program;

fn main() {
    static_program::link("portolan-supervisor");
}
