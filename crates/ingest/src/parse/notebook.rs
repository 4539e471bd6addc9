//! Jupyter notebooks as Markdown: text cells as they are, code in fences, what it printed below
//! it and cut short. Pictures, widgets and metadata are left out.

use super::decode::Decoded;
use super::{ParseError, ParsedDocument, json, with_warning};
use serde::Deserialize;

/// Longest output of a cell that is kept, in characters: logs of a training run say little.
const OUTPUT_CHARS_MAX: usize = 2_000;

#[derive(Deserialize)]
struct Notebook {
    #[serde(default)]
    cells: Vec<Cell>,
    /// Where format 3 has its cells.
    #[serde(default)]
    worksheets: Vec<Worksheet>,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Worksheet {
    #[serde(default)]
    cells: Vec<Cell>,
}

#[derive(Deserialize, Default)]
struct Metadata {
    title: Option<String>,
    kernelspec: Option<Language>,
    language_info: Option<Language>,
}

#[derive(Deserialize)]
struct Language {
    name: Option<String>,
    language: Option<String>,
}

#[derive(Deserialize)]
struct Cell {
    cell_type: String,
    #[serde(default)]
    source: Lines,
    /// The source of a code cell in format 3.
    #[serde(default)]
    input: Lines,
    /// Of a heading cell in format 3.
    level: Option<usize>,
    #[serde(default)]
    outputs: Vec<Output>,
}

#[derive(Deserialize)]
struct Output {
    #[serde(default)]
    text: Lines,
    #[serde(default)]
    data: Shown,
    ename: Option<String>,
    evalue: Option<String>,
}

/// A result in the forms that are text.
#[derive(Deserialize, Default)]
struct Shown {
    #[serde(rename = "text/markdown", default)]
    markdown: Lines,
    #[serde(rename = "text/plain", default)]
    plain: Lines,
}

/// A text, whole or in lines that keep their ends.
#[derive(Deserialize)]
#[serde(untagged)]
enum Lines {
    Whole(String),
    Each(Vec<String>),
}

impl Default for Lines {
    fn default() -> Self {
        Self::Each(Vec::new())
    }
}

impl Lines {
    fn text(&self) -> String {
        let text = match self {
            Self::Whole(text) => text.clone(),
            Self::Each(lines) => lines.concat(),
        };
        text.replace("\r\n", "\n").replace(['\r', '\0'], "").trim_matches('\n').to_owned()
    }
}

/// Reads a notebook; JSON that is none is laid out as JSON.
pub(super) fn parse(decoded: Decoded) -> Result<ParsedDocument, ParseError> {
    let Ok(notebook) = serde_json::from_str::<Notebook>(&decoded.text) else { return json::parse(decoded) };
    let language = notebook.metadata.language();
    let cells = notebook.cells.iter().chain(notebook.worksheets.iter().flat_map(|sheet| &sheet.cells));
    let parts: Vec<String> = cells.flat_map(|cell| cell.parts(&language)).filter(|part| !part.trim().is_empty()).collect();
    if parts.is_empty() {
        return Err(ParseError::Empty);
    }
    let mut document = ParsedDocument::markdown("application/x-ipynb+json", parts.join("\n\n") + "\n");
    document.title = notebook.metadata.title.or(document.title);
    Ok(with_warning(document, decoded.warning))
}

/// Whether JSON text calls itself a notebook.
pub(super) fn is_notebook(text: &str) -> bool {
    text.contains("\"nbformat\"") && (text.contains("\"cells\"") || text.contains("\"worksheets\""))
}

impl Metadata {
    fn language(&self) -> String {
        let named = |language: &Option<Language>| language.as_ref().and_then(|info| info.language.clone().or_else(|| info.name.clone()));
        named(&self.language_info).or_else(|| named(&self.kernelspec)).unwrap_or_default()
    }
}

impl Cell {
    fn parts(&self, language: &str) -> Vec<String> {
        let source = [self.source.text(), self.input.text()].concat();
        match (self.cell_type.as_str(), self.level) {
            ("code", _) => {
                let outputs = self.outputs.iter().map(|output| fenced("", &shortened(&output.text())));
                std::iter::once(fenced(language, &source)).chain(outputs).collect()
            }
            ("heading", Some(level)) => vec![format!("{} {}", "#".repeat(level.clamp(1, 6)), source.replace('\n', " "))],
            _ => vec![closed(source)],
        }
    }
}

impl Output {
    fn text(&self) -> String {
        let error = self.ename.iter().chain(&self.evalue).cloned().collect::<Vec<_>>().join(": ");
        let forms = [self.text.text(), self.data.markdown.text(), self.data.plain.text(), error];
        without_colours(forms.iter().find(|form| !form.trim().is_empty()).map_or("", String::as_str))
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(OUTPUT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Terminal colours are escape sequences `ESC [ … m`.
fn without_colours(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    let rest = parts
        .map(|part| part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';'))
        .map(|part| part.strip_prefix('m').unwrap_or(part));
    rest.fold(first, |text, part| text + part)
}

/// A fence that is longer than any in the text; nothing for nothing.
fn fenced(language: &str, text: &str) -> String {
    if text.trim().is_empty() {
        return String::new();
    }
    let longest = text.lines().map(|line| line.trim_start()).map(|line| line.len() - line.trim_start_matches('`').len()).max();
    let fence = "`".repeat(longest.unwrap_or_default().max(2) + 1);
    format!("{fence}{language}\n{text}\n{fence}")
}

/// A fence that a cell leaves open would swallow the cells after it.
fn closed(markdown: String) -> String {
    let fences = markdown.lines().filter(|line| line.trim_start().starts_with("```")).count();
    if fences % 2 == 1 { markdown + "\n```" } else { markdown }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(notebook: &str) -> Result<ParsedDocument, ParseError> {
        parse(Decoded { text: notebook.into(), warning: None })
    }

    #[test]
    fn cells_become_markdown_and_fences() {
        let notebook = r###"{"cells": [
            {"cell_type": "markdown", "source": ["# Lamp\n", "\n", "Turns in nine seconds."]},
            {"cell_type": "code", "source": "# comment\nprint(42)", "outputs": [
                {"output_type": "stream", "text": ["42\n"]},
                {"output_type": "display_data", "data": {"image/png": "aGVsbG8=", "text/plain": ["<Figure>"]}},
                {"output_type": "error", "ename": "ValueError", "evalue": "no oil", "traceback": ["\u001b[31mx"]}]},
            {"cell_type": "markdown", "source": "```\nopen"},
            {"cell_type": "raw", "source": "## End"}],
            "metadata": {"language_info": {"name": "python"}, "title": "Lamps"}, "nbformat": 4}"###;
        assert!(is_notebook(notebook));
        let document = parsed(notebook).unwrap();
        assert_eq!(
            document.text,
            "# Lamp\n\nTurns in nine seconds.\n\n```python\n# comment\nprint(42)\n```\n\n```\n42\n```\n\n```\n<Figure>\n```\n\n```\nValueError: no oil\n```\n\n```\nopen\n```\n\n## End\n"
        );
        let titles: Vec<_> = document.headings.iter().map(|heading| heading.title.as_str()).collect();
        assert_eq!((document.title.as_deref(), titles), (Some("Lamps"), vec!["Lamp", "End"]));
    }

    #[test]
    fn long_outputs_are_cut_and_colours_are_gone() {
        let long = "\u{1b}[1;31mmx\u{1b}[0m".to_owned() + &"y".repeat(OUTPUT_CHARS_MAX * 2);
        let notebook = serde_json::json!({"cells": [{"cell_type": "code", "source": "", "outputs": [{"text": long}]}]}).to_string();
        let text = parsed(&notebook).unwrap().text;
        assert!(text.contains("\nmxyyy") && text.contains("y…\n") && text.chars().count() < OUTPUT_CHARS_MAX + 20, "{text}");
    }

    #[test]
    fn the_older_format_and_what_is_no_notebook() {
        let old = r#"{"worksheets": [{"cells": [{"cell_type": "heading", "level": 2, "source": "Oil"}, {"cell_type": "code", "input": "x = 1", "language": "python"}]}], "nbformat": 3}"#;
        assert_eq!(parsed(old).unwrap().text, "## Oil\n\n```\nx = 1\n```\n");
        assert_eq!(parsed(r#"{"cells": 7}"#).unwrap().media_type, "application/json");
        assert_eq!(parsed(r#"{"cells": [], "nbformat": 4}"#).unwrap_err(), ParseError::Empty);
        assert!(matches!(parsed("{"), Err(ParseError::Corrupt { .. })));
    }
}
