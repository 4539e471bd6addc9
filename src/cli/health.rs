//! `ragstone health`: whether the server here is ready, for container health checks.

use super::runtime;
use crate::client::Client;
use clap::Args;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(crate) struct HealthArgs {
    /// Address the server listens on; an unspecified one means this machine
    #[arg(long, env = "RAGSTONE_LISTEN", default_value = "127.0.0.1:7272", value_name = "ADDRESS")]
    listen: SocketAddr,
}

#[expect(clippy::print_stdout, reason = "the command's output")]
pub(crate) fn run(args: &HealthArgs) -> anyhow::Result<ExitCode> {
    let mut address = args.listen;
    if address.ip().is_unspecified() {
        address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    runtime()?.block_on(async { Client::new(&format!("http://{address}"), None)?.check().await })?;
    println!("ok");
    Ok(ExitCode::SUCCESS)
}
