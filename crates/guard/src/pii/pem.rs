//! Private keys in PEM and in OpenPGP's armour, whole or a part.
//!
//! Documents are cut into chunks, and a key is longer than one. A part counts by its lines: behind a BEGIN as far as
//! they go, before an END as far back as they go, and anywhere else where several in a row have the length that keys are
//! written in. What stands around a part stays, and so does a mark that is only spoken of.

use regex::Regex;
use std::ops::Range;
use std::sync::LazyLock;

/// Characters of a line: of PEM (RFC 7468) and OpenPGP, and of OpenSSH.
const LINES: [usize; 2] = [64, 70];
/// So many characters without a space are no word.
const LONG: usize = 40;

static MARK: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"-{4,5} ?(BEGIN|END) ([A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?|[A-Z0-9 ]{3,40}) ?-{4,5}").ok());
/// What stands before the key itself (RFC 1421, RFC 4880).
static HEADERS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^(?:(?:\s|\\[nr]){0,8}(?:Proc-Type|DEK-Info|Version|Comment|Hash|Charset|MessageID|Subject):[^\n\\]{0,200}){1,8}").ok()
});
/// What stands between spaces, or between line ends as strings in code have them.
static PIECE: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"(?:[^\s\\]|\\[^nr\s])+").ok());

struct Mark {
    range: Range<usize>,
    is_begin: bool,
    is_private: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Is {
    /// Of a key.
    Key,
    /// A word of a text.
    Word,
    /// A word in another script: a text, however short.
    Foreign,
    /// Neither.
    Other,
    /// Signs only: quotes, dots where something was left out.
    Signs,
}

struct Piece {
    range: Range<usize>,
    is: Is,
    is_line: bool,
}

/// Places of private keys.
pub(super) fn find(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut before: Option<Mark> = None;
    for mark in marks(text) {
        between(text, before.as_ref(), Some(&mark), &mut found);
        before = Some(mark);
    }
    between(text, before.as_ref(), None, &mut found);
    found
}

fn marks(text: &str) -> impl Iterator<Item = Mark> {
    let marks = MARK.as_ref().map(|pattern| pattern.captures_iter(text)).into_iter().flatten();
    marks.filter_map(|captures| {
        let is_begin = captures.get(1)?.as_str() == "BEGIN";
        let is_private = captures.get(2)?.as_str().contains("PRIVATE KEY");
        Some(Mark { range: captures.get(0)?.range(), is_begin, is_private })
    })
}

/// What stands between two marks, or between one and an end of the text.
fn between(text: &str, before: Option<&Mark>, after: Option<&Mark>, found: &mut Vec<Range<usize>>) {
    let begin = before.filter(|mark| mark.is_begin);
    let end = after.filter(|mark| !mark.is_begin);
    // Certificates and public keys look the same.
    let is_public = [begin, end].iter().flatten().any(|mark| !mark.is_private);
    let (begin, end) = (begin.filter(|mark| mark.is_private), end.filter(|mark| mark.is_private));
    if is_public && begin.or(end).is_none() {
        return;
    }
    let (from, to) = (before.map_or(0, |mark| mark.range.end), after.map_or(text.len(), |mark| mark.range.start));
    let headers = begin.and(HEADERS.as_ref()).and_then(|pattern| pattern.find(text.get(from..to)?)).map_or(0, |headers| headers.len());
    let pieces = pieces(text, from + headers..to);
    if let (Some(begin), Some(end)) = (begin, end)
        && is_whole(&pieces)
    {
        found.push(begin.range.start..end.range.end);
        return;
    }
    let parts: Vec<&[Piece]> = pieces.split(|piece| !matches!(piece.is, Is::Key | Is::Signs)).collect();
    if let (Some(begin), Some(keys)) = (begin, parts.first().and_then(|part| keys(part))) {
        found.push(begin.range.start..keys.end);
    }
    if let (Some(end), Some(keys)) = (end, parts.last().and_then(|part| keys(part))) {
        found.push(keys.start..end.range.end);
    }
    if !is_public {
        found.extend(parts.iter().filter(|part| is_run(part)).filter_map(|part| keys(part)));
    }
}

fn is_run(part: &[Piece]) -> bool {
    part.iter().filter(|piece| piece.is_line).count() > 1
}

/// Whether a key may stand there, and no text between marks that are only spoken of.
fn is_whole(pieces: &[Piece]) -> bool {
    let is_text = |two: &[Piece]| two.iter().all(|piece| piece.is == Is::Word);
    pieces.iter().any(|piece| matches!(piece.is, Is::Key | Is::Other))
        && !pieces.iter().any(|piece| piece.is == Is::Foreign)
        && !pieces.windows(2).any(is_text)
}

/// From the first piece of a key to the last.
fn keys(part: &[Piece]) -> Option<Range<usize>> {
    let mut keys = part.iter().filter(|piece| piece.is == Is::Key);
    let first = keys.next()?;
    Some(first.range.start..keys.next_back().unwrap_or(first).range.end)
}

fn pieces(text: &str, within: Range<usize>) -> Vec<Piece> {
    let inside = text.get(within.clone()).unwrap_or_default();
    let found = PIECE.as_ref().map(|pattern| pattern.find_iter(inside)).into_iter().flatten();
    let mut pieces: Vec<Piece> = found.map(|one| piece(one.as_str(), within.start + one.start())).collect();
    // What a cut or the end of the key left of a line may look like a word.
    if let [.., long, last] = pieces.as_mut_slice() {
        mend(last, long);
    }
    if let [first, long, ..] = pieces.as_mut_slice() {
        mend(first, long);
    }
    pieces
}

fn mend(rest: &mut Piece, beside: &Piece) {
    if rest.is == Is::Word && beside.is == Is::Key && beside.range.len() >= LONG {
        rest.is = Is::Key;
    }
}

fn piece(written: &str, at: usize) -> Piece {
    let is_decoration = |c: char| !c.is_alphanumeric() && !matches!(c, '+' | '/' | '=');
    let start = at + written.len() - written.trim_start_matches(is_decoration).len();
    let bare = written.trim_matches(is_decoration);
    let is = if !bare.contains(char::is_alphanumeric) {
        Is::Signs
    } else if bare.contains(|c: char| c.is_alphabetic() && !c.is_ascii()) {
        Is::Foreign
    } else if is_of_key(bare) {
        Is::Key
    } else if bare.chars().skip(1).all(|c| !c.is_ascii_digit() && !c.is_ascii_uppercase())
        && !bare.starts_with(|c: char| c.is_ascii_digit())
    {
        Is::Word
    } else {
        Is::Other
    };
    let is_hex = bare.bytes().all(|byte| byte.is_ascii_hexdigit());
    Piece { range: start..start + bare.len(), is, is_line: is == Is::Key && LINES.contains(&bare.len()) && !is_hex }
}

/// Base64 that is no word.
fn is_of_key(bare: &str) -> bool {
    let is_base64 = bare.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='));
    let is_mixed = |bytes: &[u8]| matches!(bytes, [a, b] if a.is_ascii_lowercase() && b.is_ascii_uppercase());
    is_base64
        && (bare.len() >= LONG
            || bare.ends_with('=')
            || bare.contains(|c: char| c.is_ascii_digit())
            || bare.as_bytes().windows(2).any(is_mixed))
}
