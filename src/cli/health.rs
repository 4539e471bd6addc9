//! `ragstone health`: whether the server here is ready, for container health checks.

use super::runtime;
use crate::client::Client;
use clap::Args;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(crate) struct HealthArgs {
    /// Address the server listens on; an unspecified one means this machine
    #[arg(long, env = "RAGSTONE_LISTEN", default_value = "127.0.0.1:7272", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// For a server with TLS: its certificates (PEM), which are trusted here
    #[arg(long, env = "RAGSTONE_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

#[expect(clippy::print_stdout, reason = "the command's output")]
pub(crate) fn run(args: &HealthArgs) -> anyhow::Result<ExitCode> {
    let mut address = args.listen;
    if address.ip().is_unspecified() {
        address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let scheme = if args.ca_file.is_some() { "https" } else { "http" };
    let client = Client::trusting(&format!("{scheme}://{address}"), None, args.ca_file.as_deref())?;
    runtime()?.block_on(client.check())?;
    println!("ok");
    Ok(ExitCode::SUCCESS)
}
