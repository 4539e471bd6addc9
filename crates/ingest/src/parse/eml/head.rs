//! The head of a mail: what makes a file one, and the lines that a reader wants.

use super::super::decode::decode;
use mail_parser::{Addr, GetHeader, HeaderName, Message};
use std::collections::BTreeSet;
use std::fmt::Write;

/// How far into a file its header lines are looked at.
const HEAD_BYTES: usize = 16 << 10;
/// Names that mails have in any program.
const MAIL_ENDINGS: &[&str] = &["eml", "mht", "mhtml"];
/// Of which a header that nothing but its lines tells from other text must have one each.
const TELLING: [&[&str]; 3] =
    [&["from"], &["to", "cc", "subject", "delivered-to", "newsgroups"], &["date", "message-id", "received", "mime-version", "return-path"]];
/// People named in a line; a list of thousands is noise to a reader.
const PEOPLE_MAX: usize = 100;
/// Longest line, in bytes.
const LINE_BYTES_MAX: usize = 8 << 10;

/// Whether it is a mail: by its name if it begins with a header line, else by the lines of its header.
pub(in crate::parse) fn is_message(extension: &str, bytes: &[u8]) -> bool {
    let head = bytes.get(..HEAD_BYTES.min(bytes.len())).unwrap_or_default();
    if MAIL_ENDINGS.contains(&extension) {
        return head.split(|byte| *byte == b'\n').any(|line| field_name(line).is_some());
    }
    // Names in mail folders end in flags and numbers.
    let says_nothing = matches!(extension, "" | "txt" | "text" | "mail") || !extension.chars().all(|c| c.is_ascii_alphanumeric());
    says_nothing && has_mail_header(head)
}

fn has_mail_header(head: &[u8]) -> bool {
    let mut names = BTreeSet::new();
    for line in head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end).take_while(|line| !line.is_empty()) {
        match field_name(line) {
            Some(name) => {
                names.insert(name);
            }
            None if line.starts_with(b" ") || line.starts_with(b"\t") || line.starts_with(b"From ") => {}
            // The last line may be cut.
            None if head.len() == HEAD_BYTES => {}
            None => return false,
        }
    }
    TELLING.iter().all(|group| group.iter().any(|name| names.contains(*name)))
}

/// The name in `name: value`, in lower case.
fn field_name(line: &[u8]) -> Option<String> {
    let name = line.split(|byte| *byte == b':').next().filter(|name| name.len() < line.len())?;
    let is_name = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
    is_name.then(|| String::from_utf8_lossy(name).to_ascii_lowercase())
}

/// What a reader wants to know before the body.
pub(super) struct Head {
    pub(super) subject: Option<String>,
    lines: String,
}

impl Head {
    pub(super) fn of(message: &Message<'_>) -> Self {
        let subject = message.subject().filter(|subject| !subject.contains(char::REPLACEMENT_CHARACTER)).map(one_line);
        let subject = subject.or_else(|| raw(message, HeaderName::Subject)).filter(|subject| !subject.is_empty());
        let mut lines = String::new();
        for (label, name) in [("From", HeaderName::From), ("To", HeaderName::To), ("Cc", HeaderName::Cc)] {
            push_line(&mut lines, label, people(message, &name).or_else(|| raw(message, name)));
        }
        push_line(&mut lines, "Date", raw(message, HeaderName::Date));
        Self { subject, lines }
    }

    /// The heading, then the lines.
    pub(super) fn blocks(&self) -> [String; 2] {
        let heading = self.subject.as_ref().map(|subject| format!("# {subject}")).unwrap_or_default();
        [heading, self.lines.trim_end().to_owned()]
    }
}

fn push_line(lines: &mut String, label: &str, value: Option<String>) {
    if let Some(value) = value.filter(|value| !value.is_empty()) {
        // Writing to a string can't fail.
        let _ = writeln!(lines, "{label}: {value}");
    }
}

/// `Name <address>, …` over all headers of that name.
fn people(message: &Message<'_>, name: &HeaderName<'_>) -> Option<String> {
    let lists = message.headers().iter().filter(|header| header.name == *name).filter_map(|header| header.value.as_address());
    let mut people: Vec<String> = lists.flat_map(|list| list.iter()).filter_map(person).take(PEOPLE_MAX + 1).collect();
    if let Some(last) = people.get_mut(PEOPLE_MAX) {
        *last = "and others".to_owned();
    }
    let line = one_line(&people.join(", "));
    (!line.is_empty() && !line.contains(char::REPLACEMENT_CHARACTER)).then_some(line)
}

fn person(person: &Addr<'_>) -> Option<String> {
    match (person.name(), person.address()) {
        (Some(name), Some(address)) => Some(format!("{name} <{address}>")),
        (Some(one), None) | (None, Some(one)) => Some(one.to_owned()),
        (None, None) => None,
    }
}

/// A header as it is written, in an encoding that is guessed if it is not UTF-8.
fn raw(message: &Message<'_>, name: HeaderName<'_>) -> Option<String> {
    let header = message.parts.first()?.headers.header(name)?;
    let value = message.raw_message.get(header.offset_start as usize..header.offset_end as usize)?;
    let value = decode(value).map_or_else(|| String::from_utf8_lossy(value).into_owned(), |decoded| decoded.text);
    Some(one_line(&value))
}

/// Without line breaks and control characters, and not longer than anybody reads.
fn one_line(value: &str) -> String {
    let visible: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut line = visible.split_whitespace().collect::<Vec<_>>().join(" ");
    line.truncate(line.floor_char_boundary(LINE_BYTES_MAX));
    line
}
