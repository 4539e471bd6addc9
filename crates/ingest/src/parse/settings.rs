//! YAML, TOML, INI and Java properties: kept as they are. Sections and top-level names become the
//! headings, so that a chunk from the middle of a file says under which section it stood.
//!
//! Nothing is validated: a settings file with an error in it is still worth finding.

use super::decode::Decoded;
use super::{Heading, ParseError, ParsedDocument, with_warning};

/// The notations, by how their sections look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notation {
    Yaml,
    Toml,
    Ini,
    Properties,
}

/// Longest name that is a heading, in characters.
const NAME_CHARS_MAX: usize = 120;

impl Notation {
    /// What a file with this extension is written in.
    pub(super) fn of_extension(extension: &str) -> Option<Self> {
        match extension {
            "yaml" | "yml" => Some(Self::Yaml),
            "toml" => Some(Self::Toml),
            "ini" | "cfg" | "conf" | "desktop" | "service" => Some(Self::Ini),
            "properties" | "env" => Some(Self::Properties),
            _ => None,
        }
    }

    const fn media_type(self) -> &'static str {
        match self {
            Self::Yaml => "application/yaml",
            Self::Toml => "application/toml",
            Self::Ini => "text/x-ini",
            Self::Properties => "text/x-java-properties",
        }
    }

    fn heading(self, line: &str) -> Option<(u8, &str)> {
        match self {
            Self::Yaml => top_level_name(line).map(|name| (1, name)),
            Self::Toml | Self::Ini => section(line).map(|name| (level(name), name)),
            Self::Properties => None,
        }
    }
}

pub(super) fn parse(decoded: Decoded, notation: Notation) -> Result<ParsedDocument, ParseError> {
    let mut headings = Vec::new();
    let (mut byte_start, mut is_quoted) = (0, false);
    for line in decoded.text.split_inclusive('\n') {
        if let Some((level, name)) =
            notation.heading(line).filter(|_| !is_quoted).filter(|(_, name)| name.chars().count() <= NAME_CHARS_MAX)
        {
            headings.push(Heading { byte_start, level, title: name.to_owned() });
        }
        // a text over many lines in TOML may hold whatever looks like a section
        let quotes = line.matches("\"\"\"").count() + line.matches("'''").count();
        is_quoted ^= notation == Notation::Toml && quotes % 2 == 1;
        byte_start += line.len();
    }
    let document = ParsedDocument { headings, ..ParsedDocument::plain(notation.media_type(), decoded.text) };
    Ok(with_warning(document, decoded.warning))
}

/// `name:` at the start of a line with nothing, or only a comment or a tag, behind it: what it
/// holds stands below.
fn top_level_name(line: &str) -> Option<&str> {
    let (name, value) = line.trim_end().split_once(':')?;
    let holds_more = value.is_empty() || [" #", " !", " &", " |", " >"].iter().any(|start| value.starts_with(start));
    let name = name.trim_matches(['"', '\'']);
    let is_name = name.starts_with(|c: char| c.is_alphanumeric() || c == '_') && !name.contains(['{', '[', '#']);
    (is_name && holds_more).then_some(name)
}

/// `[name]` or `[[name]]` alone on a line, a comment aside.
fn section(line: &str) -> Option<&str> {
    let line = line.trim();
    let (name, rest) =
        line.strip_prefix("[[").and_then(|rest| rest.split_once("]]")).or_else(|| line.strip_prefix('[')?.split_once(']'))?;
    let rest = rest.trim_start();
    let is_alone = rest.is_empty() || rest.starts_with(['#', ';']);
    let name = name.trim();
    (is_alone && !name.is_empty() && !name.contains(['[', ','])).then_some(name)
}

/// `a.b.c` is a section of `a.b`.
fn level(name: &str) -> u8 {
    let dots = name.bytes().filter(|byte| *byte == b'.').count();
    u8::try_from(dots + 1).unwrap_or(u8::MAX).min(6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headings(text: &str, notation: Notation) -> Vec<(u8, String)> {
        let document = parse(Decoded { text: text.into(), warning: None }, notation).unwrap();
        assert_eq!(document.text, text, "kept as it is");
        let at_start = |heading: &Heading| text[heading.byte_start..].trim_start_matches(['[', '"', ' ']).starts_with(&heading.title);
        assert!(document.headings.iter().all(at_start), "{:?}", document.headings);
        document.headings.into_iter().map(|heading| (heading.level, heading.title)).collect()
    }

    #[test]
    fn sections_are_headings() {
        let toml = "[lamp]\nturns_s = 9\n\n[lamp.oil] # kinds\nlist = [\n  \"x\",\n]\ntext = \"\"\"\n[no]\n\"\"\"\n[[keeper]]\n";
        assert_eq!(headings(toml, Notation::Toml), [(1, "lamp".into()), (2, "lamp.oil".into()), (1, "keeper".into())]);
        assert_eq!(headings("; c\n[Light House]\na=b\n", Notation::Ini), [(1, "Light House".into())]);
        assert_eq!(headings("a.b=c\n", Notation::Properties), []);
    }

    #[test]
    fn top_level_names_of_every_yaml_document_are_headings() {
        let yaml = "# c\nname: lamp\nlamp: # light\n  turns: 9\n  nested:\n    x: 1\n---\n\"oil\":\n- colza\nnote: |\n  free: text\n";
        assert_eq!(headings(yaml, Notation::Yaml), [(1, "lamp".into()), (1, "oil".into()), (1, "note".into())]);
    }
}
