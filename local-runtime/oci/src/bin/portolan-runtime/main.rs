//! The program `portolan-runtime`: one verb of an OCI runtime a call. Arguments are read by hand and nothing is started
//! that a container does not need: this program's own start is paid for by every container.
//!
//! Exit codes: of `run` and `exec` the process's own, 128 + N after signal N, 125 if it could not be run; of the other
//! verbs 0 or 1; 64 on wrong arguments.

#![cfg_attr(not(test), no_main)]
// The tests of `arguments` and `log` have a `main` of their own.
#![cfg_attr(test, allow(dead_code))]

mod arguments;
mod entry;
mod log;

use portolan_oci::error::{Result, chain};
use portolan_oci::state::State;
use portolan_oci::{Store, create, delete, exec, kill, own_program, run, spec, start, state};

use arguments::{Arguments, Format, Verb};

/// Called by the C library. What Rust would do before (a handler for a full stack, for which it reads the map of the memory)
/// costs a tenth of a container's start.
#[cfg(not(test))]
#[unsafe(no_mangle)]
extern "C" fn main() -> std::ffi::c_int {
    std::process::exit(run_verb().into())
}

fn run_verb() -> u8 {
    if let Err(error) = own_program::open_streams() {
        eprintln!("portolan-runtime: {}", chain(&error));
        return 1;
    }
    let arguments = match Arguments::parse(std::env::args_os().skip(1)) {
        Ok(arguments) => arguments,
        Err(wrong) => {
            eprintln!("portolan-runtime: {wrong}\n{}", arguments::USAGE);
            return 64;
        }
    };
    let failure = match arguments.verb {
        Verb::Run { .. } | Verb::Exec { .. } => 125,
        _ => 1,
    };
    carry_out(&arguments).unwrap_or_else(|error| {
        let message = chain(&error);
        eprintln!("portolan-runtime: {message}");
        log::write(&arguments, &message);
        failure
    })
}

fn carry_out(arguments: &Arguments) -> Result<u8> {
    let root = match &arguments.root {
        Some(root) => root.clone(),
        None => Store::default_root()?,
    };
    let store = Store::at(root);
    if let Verb::Create { .. } | Verb::Run { .. } | Verb::Exec { .. } = arguments.verb {
        own_program::protect()?;
    }
    match &arguments.verb {
        Verb::Help => println!("{}", arguments::USAGE),
        Verb::Version => println!(
            "portolan-runtime {}\nspec: {}",
            env!("CARGO_PKG_VERSION"),
            spec::VERSION
        ),
        Verb::Create { id, options } => create::create(&store, id, options)?,
        Verb::Start { id } => start::start(&store, id)?,
        Verb::Run { id, options } => return run::run(&store, id, options),
        Verb::State { id } => println!("{}", json(&state::state(&store, id)?)),
        Verb::Kill { id, signal, all } => kill::kill(&store, id, *signal, *all)?,
        Verb::Delete { id, force } => delete::delete(&store, id, *force)?,
        Verb::Exec { id, options } => return exec::exec(&store, id, options),
        Verb::List { format } => show(&state::list(&store)?, *format),
    }
    Ok(0)
}

fn show(states: &[State], format: Format) {
    if format == Format::Json {
        return println!("{}", json(&states));
    }
    println!("{:<32} {:>8} {:<8} BUNDLE", "ID", "PID", "STATUS");
    for state in states {
        let pid = state.pid.map_or("-".to_owned(), |pid| pid.to_string());
        println!(
            "{:<32} {pid:>8} {:<8} {}",
            state.id,
            state.status,
            state.bundle.display()
        );
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).expect("a state is text and numbers")
}
