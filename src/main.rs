//! `ragstone`: documents in, grounded answers out. The front door: command line, configuration,
//! wiring, HTTP. Nothing clever happens here; ARCHITECTURE.md says where it does.

mod app;
mod auth;
mod batches;
mod caches;
mod cli;
mod client;
mod config;
mod error;
mod evaluations;
mod http;
mod limits;
mod server;
mod traces;
mod wiring;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run() {
        Ok(code) => code,
        Err(error) => {
            // One line a cause, so that the last one, which names the mend, is not lost in a paragraph.
            let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
            eprintln!("ragstone: {}", causes.join("\n  caused by: "));
            ExitCode::FAILURE
        }
    }
}
