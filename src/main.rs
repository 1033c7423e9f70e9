//! The `hookline` program; see [`hookline::cli`].

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    hookline::cli::main()
}
