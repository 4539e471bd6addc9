//! Programming languages by file name and by the interpreter that the first line names.

/// How source in a language is recognised and outlined.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::parse) struct Language {
    /// As in its media type: `text/x-<name>`.
    pub(super) name: &'static str,
    /// Extensions, and whole names of files without one, in lower case.
    extensions: &'static [&'static str],
    /// Programs that `#!` lines name, without a version.
    interpreters: &'static [&'static str],
    /// Keywords before the name of what is defined.
    pub(super) definitions: &'static [&'static str],
    /// Whether `name() {` defines a function.
    pub(super) has_shell_functions: bool,
}

const fn language(
    name: &'static str,
    extensions: &'static [&'static str],
    interpreters: &'static [&'static str],
    definitions: &'static [&'static str],
) -> Language {
    Language { name, extensions, interpreters, definitions, has_shell_functions: false }
}

const SCRIPT: &[&str] = &["class", "function", "interface", "enum", "type", "namespace"];
const NATIVE: &[&str] = &["class", "struct", "enum", "union", "namespace"];
const MANAGED: &[&str] = &["class", "interface", "enum", "record", "struct", "namespace", "package"];

static LANGUAGES: &[Language] = &[
    language("ada", &["adb", "ads"], &[], &["procedure", "function", "package"]),
    language("asm", &["asm", "s"], &[], &[]),
    language("awk", &["awk"], &["awk", "gawk"], &["function"]),
    language("batch", &["bat", "cmd"], &[], &[]),
    language("c", &["c", "h"], &[], &["struct", "enum", "union"]),
    language("clojure", &["clj", "cljs", "cljc", "edn"], &[], &[]),
    language("cmake", &["cmake"], &[], &[]),
    language("cpp", &["cc", "cpp", "cxx", "hh", "hpp", "hxx", "ino", "cu"], &[], NATIVE),
    language("csharp", &["cs"], &[], MANAGED),
    language("css", &["css", "scss", "sass", "less"], &[], &[]),
    language("dart", &["dart"], &[], &["class", "enum", "mixin", "extension"]),
    language("diff", &["diff", "patch"], &[], &[]),
    language("dockerfile", &["dockerfile", "containerfile"], &[], &["from"]),
    language("elixir", &["ex", "exs"], &["elixir"], &["def", "defp", "defmodule", "defmacro"]),
    language("erlang", &["erl", "hrl"], &["escript"], &[]),
    language("fortran", &["f", "f90", "f95", "for"], &[], &["program", "module", "subroutine", "function"]),
    language("fsharp", &["fs", "fsx"], &[], &["module", "type", "let"]),
    language("go", &["go"], &[], &["func", "type"]),
    language("graphql", &["graphql", "gql"], &[], &["type", "interface", "enum", "input", "query", "mutation", "fragment"]),
    language("groovy", &["groovy", "gradle"], &["groovy"], &["class", "interface", "enum", "def"]),
    language("haskell", &["hs", "lhs"], &["runghc", "runhaskell"], &["module", "class", "newtype", "instance", "type"]),
    language("hcl", &["tf", "hcl"], &[], &[]),
    language("java", &["java"], &[], MANAGED),
    language("javascript", &["js", "mjs", "cjs", "jsx"], &["node", "deno", "bun"], SCRIPT),
    language("json5", &["json5", "jsonc"], &[], &[]),
    language("julia", &["jl"], &["julia"], &["function", "struct", "module", "macro"]),
    language("kotlin", &["kt", "kts"], &["kotlin"], &["class", "interface", "object", "fun", "enum"]),
    language("lisp", &["lisp", "el", "scm", "rkt", "cl"], &["sbcl", "guile", "racket"], &[]),
    language("lua", &["lua"], &["lua", "luajit"], &["function"]),
    language("makefile", &["mk", "mak", "makefile", "gnumakefile"], &["make"], &[]),
    language("nim", &["nim"], &[], &["proc", "func", "type", "template", "macro"]),
    language("nix", &["nix"], &[], &[]),
    language("objectivec", &["m", "mm"], &[], &[]),
    language("ocaml", &["ml", "mli"], &["ocaml"], &["module", "type", "let"]),
    language("pascal", &["pas", "pp"], &[], &["program", "unit", "procedure", "function"]),
    language("perl", &["pl", "pm"], &["perl"], &["sub", "package"]),
    language("php", &["php"], &["php"], &["class", "interface", "trait", "function", "enum", "namespace"]),
    language("powershell", &["ps1", "psm1", "psd1"], &["pwsh"], &["function", "class", "filter"]),
    language("protobuf", &["proto"], &[], &["message", "service", "enum", "rpc"]),
    language("python", &["py", "pyi", "pyw", "pyx"], &["python", "pypy"], &["class", "def"]),
    language("r", &["r"], &["Rscript"], &[]),
    language("ruby", &["rb", "rake", "gemspec", "gemfile", "rakefile"], &["ruby"], &["class", "module", "def"]),
    language("rust", &["rs"], &["rust-script"], &["fn", "struct", "enum", "union", "trait", "impl", "mod", "type"]),
    language("scala", &["scala", "sc"], &["scala"], &["class", "trait", "object", "def", "enum", "package"]),
    Language {
        has_shell_functions: true,
        ..language("shell", &["sh", "bash", "zsh", "ksh", "fish"], &["sh", "bash", "zsh", "ksh", "dash", "fish"], &["function"])
    },
    language("solidity", &["sol"], &[], &["contract", "interface", "library", "struct", "function"]),
    language("sql", &["sql"], &[], &["create table", "create view", "create function", "create procedure", "create index", "alter table"]),
    language("svelte", &["svelte"], &[], &[]),
    language("swift", &["swift"], &["swift"], &["class", "struct", "enum", "protocol", "extension", "func", "actor"]),
    language("tcl", &["tcl"], &["tclsh", "wish"], &["proc"]),
    language("typescript", &["ts", "tsx", "mts", "cts"], &["ts-node", "tsx"], SCRIPT),
    language("vb", &["vb", "bas", "vbs"], &[], &["class", "module", "sub", "function"]),
    language("verilog", &["v", "sv", "vhd", "vhdl"], &[], &["module", "entity"]),
    language("vim", &["vim"], &[], &["function"]),
    language("vue", &["vue"], &[], &[]),
    language("zig", &["zig"], &[], &["fn"]),
];

/// Extensions under which files of another kind are as common as source.
const AMBIGUOUS: &[&str] = &["cl", "cmd", "for", "m", "pp", "r", "s", "sc", "v"];

impl Language {
    /// The language of a file by its name, else by its first line.
    pub(in crate::parse) fn of(name: &str, text: &str) -> Option<&'static Self> {
        let base = name.rsplit(['/', '\\']).next().unwrap_or_default().to_lowercase();
        let extension = base.rsplit_once('.').map_or(base.as_str(), |(_, extension)| extension);
        let by_name = LANGUAGES.iter().find(|language| language.extensions.contains(&extension));
        by_name.filter(|_| !AMBIGUOUS.contains(&extension) || !is_prose(text)).or_else(|| Self::of_interpreter(text))
    }

    fn of_interpreter(text: &str) -> Option<&'static Self> {
        let line = text.strip_prefix("#!")?.lines().next()?;
        let mut words = line.split_whitespace();
        let program = words.next()?.rsplit('/').next()?;
        let program = if program == "env" { words.find(|word| !word.starts_with('-') && !word.contains('='))? } else { program };
        let program = program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
        LANGUAGES.iter().find(|language| language.interpreters.contains(&program))
    }

    /// `text/x-<name>`.
    pub(super) fn media_type(&self) -> String {
        format!("text/x-{}", self.name)
    }
}

/// Lines that end as sentences do: hardly one in a program.
fn is_prose(text: &str) -> bool {
    let lines = || text.lines().filter(|line| !line.trim().is_empty()).take(200);
    let sentences = lines().filter(|line| line.trim_end().ends_with(['.', '。']) && line.split_whitespace().count() > 3).count();
    sentences * 4 > lines().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_of(name: &str, text: &str) -> Option<&'static str> {
        Language::of(name, text).map(|language| language.name)
    }

    #[test]
    fn names_and_first_lines_tell() {
        for (name, text, right) in [
            ("src/main.RS", "", Some("rust")),
            ("C:\\x\\Makefile", "all:\n", Some("makefile")),
            ("Dockerfile", "FROM x\n", Some("dockerfile")),
            ("run", "#!/usr/bin/env -S python3.11 -u\n", Some("python")),
            ("run", "#!/bin/bash -e\n", Some("shell")),
            ("run.txt", "#!/usr/bin/perl\n", Some("perl")),
            ("x.h", "", Some("c")),
            ("notes.r", "This is what he said.\nIt was not much at all.\n", None),
            ("notes.r", "x <- c(1, 2)\nplot(x)\n", Some("r")),
            ("notes", "go", None),
            ("README.txt", "", None),
        ] {
            assert_eq!(name_of(name, text), right, "{name} {text}");
        }
    }

    #[test]
    fn no_extension_has_two_languages() {
        let all: Vec<_> = LANGUAGES.iter().flat_map(|language| language.extensions).collect();
        let once: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(all.len(), once.len());
    }
}
