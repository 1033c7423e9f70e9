//! The `hookline` program; see [`hookline::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    hookline::cli::main()
}
