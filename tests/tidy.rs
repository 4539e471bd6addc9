//! Keeps the house in order: who may depend on whom, which room may know which library, where the
//! environment is read, that modules and documents say true things, and that the OpenAPI document
//! lists the routes that there are.
//!
//! Everything is read as text from the working tree, so these tests run in milliseconds and need no
//! built program. Each rule collects everything that breaks it and fails once with the whole list.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends at the first thing that is wrong")]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Each room with the rooms it may depend on.
const ARROWS: [(&str, &[&str]); 10] = [
    ("corpus", &[]),
    ("cache", &["corpus"]),
    ("encoder", &["corpus"]),
    ("guard", &[]),
    ("index", &["corpus"]),
    ("mock", &[]),
    ("gateway", &["corpus", "guard", "mock"]),
    ("ingest", &["corpus", "encoder", "gateway", "index"]),
    ("query", &["cache", "corpus", "gateway", "guard", "index"]),
    ("ragstone", &["cache", "corpus", "encoder", "gateway", "guard", "index", "ingest", "mock", "query"]),
];

/// Libraries and the only places below which they may be named.
const KEPT_IN: [(&[&str], &[&str]); 7] = [
    (&["axum"], &["src/"]),
    (&["sled", "hnsw_rs", "tantivy"], &["crates/index/"]),
    (&["candle_core", "candle_nn", "tokenizers", "fastembed", "ort"], &["crates/encoder/"]),
    (&["text_splitter", "landlock", "seccompiler"], &["crates/ingest/"]),
    (&["redis", "moka"], &["crates/cache/"]),
    (&["regex"], &["crates/guard/"]),
    (&["reqwest"], &["crates/gateway/", "src/client.rs"]),
];

/// What a path in a document begins with, if it means a place in this repository.
const PLACES: [&str; 6] = ["src/", "crates/", "models/", "tests/", "benches/", "docs/"];

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

#[test]
fn there_are_no_other_arrows_between_the_crates() {
    let manifests = manifests();
    let known: BTreeSet<&str> = ARROWS.iter().map(|(room, _)| *room).collect();
    let found: BTreeSet<&str> = manifests.iter().map(|(room, _)| room.as_str()).collect();
    assert_eq!(found, known, "left: the crates there are; right: those with a place in ARROWS");
    let allowed = |from: &str, to: &str| ARROWS.iter().any(|(room, needs)| *room == from && needs.contains(&to));
    let arrows = manifests.iter().flat_map(|(from, manifest)| rooms_in(manifest).into_iter().map(move |to| (from, to)));
    let new: Vec<String> = arrows.filter(|(from, to)| !allowed(from, to)).map(|(from, to)| format!("{from} → {to}")).collect();
    report("arrows that are not in ARROWS", &new);
}

#[test]
fn libraries_stay_in_their_rooms() {
    let mut strays = Vec::new();
    for (room, manifest) in manifests() {
        let place = if room == "ragstone" { "src/".to_owned() } else { format!("crates/{room}/") };
        let names = dependencies(&manifest).into_iter().map(|name| name.replace('-', "_"));
        let is_stray = |name: &String| homes(name).is_some_and(|homes| !homes.iter().any(|home| home.starts_with(&place)));
        strays.extend(names.filter(is_stray).map(|name| format!("{room} depends on {name}")));
    }
    for path in sources() {
        let code = code_of(&path);
        let libraries = KEPT_IN.iter().filter(|(_, homes)| !homes.iter().any(|home| path.starts_with(home)));
        let named = libraries.flat_map(|(names, _)| names.iter()).filter(|name| has_path_from(&code, name));
        strays.extend(named.map(|name| format!("{path} names {name}")));
    }
    report("libraries outside of their rooms", &strays);
}

#[test]
fn every_module_says_what_it_is_for() {
    let silent: Vec<String> = sources().into_iter().filter(|path| !read(path).starts_with("//!")).collect();
    report("files that don't begin with a //! line", &silent);
}

#[test]
fn only_the_front_door_reads_the_environment() {
    let may_read = |path: &str| path == "src/config.rs" || path.starts_with("src/cli/") || path.ends_with("tests.rs");
    let reads = |path: &String| ["var", "vars", "var_os", "vars_os"].iter().any(|name| code_of(path).contains(&format!("env::{name}(")));
    let readers: Vec<String> = sources().into_iter().filter(|path| !may_read(path)).filter(reads).collect();
    report("files that read environment variables", &readers);
}

#[test]
fn paths_named_in_documents_exist() {
    let mut missing = Vec::new();
    let mut count = 0;
    for document in documents() {
        let directory = Path::new(&document).parent().unwrap().to_owned();
        for path in paths_in(&read(&document)) {
            count += 1;
            if !root().join(&path).exists() && !root().join(&directory).join(&path).exists() {
                missing.push(format!("{document} names {path}"));
            }
        }
    }
    report("paths that don't exist", &missing);
    assert!(count > 0, "no document names any path: is the search for them broken?");
}

#[test]
fn the_openapi_document_lists_the_routes() {
    let api = openapi();
    let paths = api["paths"].as_object().unwrap();
    let listed: BTreeSet<(String, String)> = paths
        .iter()
        .flat_map(|(path, item)| {
            METHODS.iter().filter(|method| item.get(**method).is_some()).map(|method| (path.clone(), (*method).to_owned()))
        })
        .collect();
    let served: BTreeSet<(String, String)> = files_below("src/http", "rs").iter().flat_map(|path| routes_in(&read(path))).collect();
    let missing = served.difference(&listed).map(|(path, method)| format!("not in openapi.json: {method} {path}"));
    let stale = listed.difference(&served).map(|(path, method)| format!("not in src/http: {method} {path}"));
    report("routes and src/http/openapi.json differ", &missing.chain(stale).collect::<Vec<_>>());
    assert!(!served.is_empty(), "no routes found: is the search for them broken?");
}

#[test]
fn the_openapi_document_is_whole() {
    let api = openapi();
    let mut references = BTreeSet::new();
    collect_references(&api, &mut references);
    let mut faults: Vec<String> = references.iter().filter(|one| api.pointer(one.trim_start_matches('#')).is_none()).cloned().collect();
    let operations = api["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values());
    let ids: Vec<&str> = operations.filter_map(|operation| operation["operationId"].as_str()).collect();
    faults.extend(ids.iter().filter(|id| ids.iter().filter(|other| other == id).count() > 1).map(|id| format!("operationId {id} twice")));
    report("broken references and ids in src/http/openapi.json", &faults);
    assert_eq!(api["info"]["version"], env!("CARGO_PKG_VERSION"), "left: openapi.json; right: Cargo.toml");
}

fn report(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Files below a folder with this ending, as sorted paths from the root.
fn files_below(directory: &str, ending: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![root().join(directory)];
    while let Some(directory) = open.pop() {
        let entries = fs::read_dir(&directory).into_iter().flatten().map(|entry| entry.unwrap().path());
        let (folders, files): (Vec<PathBuf>, Vec<PathBuf>) = entries.partition(|path| path.is_dir());
        open.extend(folders);
        found.extend(files.into_iter().filter(|path| path.extension().is_some_and(|found| found == ending)));
    }
    let mut found: Vec<String> = found.iter().map(|path| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned()).collect();
    found.sort();
    found
}

fn rooms() -> Vec<String> {
    let entries = fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.join("Cargo.toml").exists()).map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

fn manifests() -> Vec<(String, toml::Table)> {
    let inner = rooms().into_iter().map(|room| (format!("crates/{room}/Cargo.toml"), room));
    let all = inner.chain([("Cargo.toml".to_owned(), "ragstone".to_owned())]);
    all.map(|(path, room)| (room, read(path).parse().unwrap())).collect()
}

/// Rust sources of the product: no tests, benches or examples of a package.
fn sources() -> Vec<String> {
    let inner = rooms().into_iter().flat_map(|room| files_below(&format!("crates/{room}/src"), "rs"));
    inner.chain(files_below("src", "rs")).collect()
}

fn documents() -> Vec<String> {
    let named = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "crates/index/DESIGN.md"].map(str::to_owned);
    named.into_iter().chain(files_below("docs", "md")).collect()
}

fn openapi() -> Value {
    serde_json::from_str(&read("src/http/openapi.json")).unwrap()
}

/// Every package that a manifest names, in dependency tables of any kind and platform.
fn dependencies(manifest: &toml::Table) -> BTreeSet<String> {
    let platforms = manifest.get("target").and_then(toml::Value::as_table).into_iter().flat_map(toml::Table::values);
    let tables = platforms.filter_map(toml::Value::as_table).chain([manifest]).flat_map(toml::Table::iter);
    let tables = tables.filter(|(key, _)| key.ends_with("dependencies")).filter_map(|(_, table)| table.as_table());
    let name = |(key, value): (&String, &toml::Value)| value.get("package").and_then(toml::Value::as_str).unwrap_or(key).to_owned();
    tables.flat_map(toml::Table::iter).map(name).collect()
}

fn rooms_in(manifest: &toml::Table) -> BTreeSet<String> {
    let names = dependencies(manifest).into_iter().map(|name| name.trim_start_matches("ragstone-").to_owned());
    names.filter(|name| ARROWS.iter().any(|(room, _)| room == name)).collect()
}

fn homes(library: &str) -> Option<&'static [&'static str]> {
    KEPT_IN.iter().find(|(names, _)| names.contains(&library)).map(|(_, homes)| *homes)
}

/// A source without its line comments.
fn code_of(path: &str) -> String {
    read(path).lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Whether `library::` begins a path somewhere.
fn has_path_from(code: &str, library: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(&format!("{library}::")).any(|(at, _)| {
        let before = code.get(..at).unwrap_or_default();
        // `crate::axum::` would be a module of ours; `::axum::` is the library.
        let is_ours = before.strip_suffix("::").is_some_and(|before| before.ends_with(is_name));
        !before.ends_with(is_name) && !is_ours
    })
}

/// Places in this repository that a Markdown text names in backticks or links to.
fn paths_in(markdown: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut is_fenced = false;
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            is_fenced = !is_fenced;
        } else if !is_fenced {
            // Every second piece between backticks is code; a command names its paths as words.
            found.extend(line.split('`').skip(1).step_by(2).flat_map(str::split_whitespace).filter_map(place));
            found.extend(line.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()).filter_map(place));
        }
    }
    found
}

/// The path, if the word is one of a place here: `src/a.rs::f` and `src/a.rs:12` are, patterns are not.
fn place(word: &str) -> Option<String> {
    let word = word.trim_matches(|c: char| matches!(c, ',' | ';' | '.' | '(' | ')' | '"' | '\''));
    let path = word.split(':').next()?;
    let is_pattern = path.contains(['*', '<', '>', '{', '}', '…', '$', '[']);
    (PLACES.iter().any(|place| path.starts_with(place)) && !is_pattern).then(|| path.to_owned())
}

/// Paths and methods of every `.route(path, methods)`.
fn routes_in(source: &str) -> Vec<(String, String)> {
    assert!(!source.contains(".nest("), "nested routers hide their paths from this test: register whole paths");
    let texts = bindings(source);
    let calls = source.match_indices(".route(").map(|(at, call)| arguments(source.get(at + call.len()..).unwrap()));
    let routes = calls.flat_map(|arguments| {
        let [path, methods] = arguments.as_slice() else { panic!("a route has a path and methods: {arguments:?}") };
        let path = path_of(path, &texts);
        methods_of(methods).into_iter().map(move |method| (path.clone(), method))
    });
    routes.collect()
}

/// `let name = "text";` by name.
fn bindings(source: &str) -> BTreeMap<String, String> {
    let lets = source.lines().filter_map(|line| line.trim().strip_prefix("let ")?.strip_suffix("\";")?.split_once(" = \""));
    lets.map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
}

/// The arguments of a call whose opening bracket was just read.
fn arguments(source: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut depth = 1;
    let mut is_text = false;
    for c in source.chars() {
        match c {
            '"' => is_text = !is_text,
            '(' | '[' | '{' if !is_text => depth += 1,
            ')' | ']' | '}' if !is_text => depth -= 1,
            _ => {}
        }
        match c {
            _ if depth == 0 => break,
            ',' if depth == 1 && !is_text => found.push(String::new()),
            _ => found.last_mut().unwrap().push(c),
        }
    }
    found.iter().map(|argument| argument.trim().to_owned()).filter(|argument| !argument.is_empty()).collect()
}

/// A path as a literal, by the name of one, or as a `format!` of named ones.
fn path_of(argument: &str, texts: &BTreeMap<String, String>) -> String {
    let literal = |text: &str| text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).map(str::to_owned);
    let formatted = argument.trim_start_matches('&').strip_prefix("format!(").and_then(|rest| literal(rest.strip_suffix(')')?));
    let filled = formatted.map(|text| texts.iter().fold(text, |text, (name, value)| text.replace(&format!("{{{name}}}"), value)));
    let path = literal(argument).or_else(|| texts.get(argument).cloned()).or(filled);
    path.unwrap_or_else(|| panic!("the path of a route can't be read: {argument}"))
}

/// The methods that `get(…).post(…)` names outside of its brackets.
fn methods_of(argument: &str) -> Vec<String> {
    let mut outside = String::new();
    let mut depth = 0;
    for c in argument.chars() {
        depth -= i32::from(c == ')');
        if depth == 0 {
            outside.push(c);
        }
        depth += i32::from(c == '(');
    }
    // `get()` for `get(handler)`, also with its path before it: `routing::get()`.
    let names = outside.split("()").map(|name| name.trim().trim_start_matches('.').rsplit("::").next().unwrap_or_default());
    let methods: Vec<String> = names.filter(|name| !name.is_empty()).map(str::to_owned).collect();
    assert!(methods.iter().all(|method| METHODS.contains(&method.as_str())), "unknown methods in {argument}");
    methods
}

fn collect_references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| collect_references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| collect_references(value, found)),
        _ => {}
    }
}
