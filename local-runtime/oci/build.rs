//! `portolan-runtime` is static, and begins before the C library does (`src/bin/portolan-runtime/entry.rs`).

#[path = "../static_program.rs"]
mod static_program;

fn main() {
    static_program::link("portolan-runtime");
    println!("cargo::rustc-link-arg-bin=portolan-runtime=-Wl,-e,portolan_runtime_start");
}
