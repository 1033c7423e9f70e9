//! The `hookline` program; see [`hookline::main`].

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    hookline::main()
}
