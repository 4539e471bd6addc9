//! What hangs on a mail.

use super::super::Attachment;
use super::super::attachments::{Attachments, safe_name};
use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;
use mail_parser::parsers::MessageStream;
use mail_parser::{Encoding, Message, MessagePart, MimeHeaders, PartType};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// Endings for parts without a name.
const ENDINGS: &[(&str, &str, &str)] = &[
    ("text", "plain", "txt"),
    ("text", "html", "html"),
    ("text", "csv", "csv"),
    ("text", "calendar", "ics"),
    ("text", "rfc822-headers", "txt"),
    ("message", "delivery-status", "txt"),
    ("message", "rfc822", "eml"),
    ("message", "global", "eml"),
    ("application", "pdf", "pdf"),
    ("application", "json", "json"),
    ("application", "zip", "zip"),
    ("application", "msword", "doc"),
    ("application", "rtf", "rtf"),
    ("image", "jpeg", "jpg"),
    ("image", "png", "png"),
];

/// Everything but what the body is made of, what only the page shows, and signatures; and what could
/// not be taken along, in words.
pub(super) fn attachments(message: &Message<'_>, used: &BTreeSet<u32>) -> (Vec<Attachment>, Vec<String>) {
    let (mut files, mut warnings) = (Attachments::default(), Vec::new());
    let parts = message.attachments.iter().filter(|id| !used.contains(*id)).filter_map(|id| message.parts.get(*id as usize));
    for (number, part) in parts.filter(|part| is_file(part)).enumerate() {
        let name = name(part, number + 1);
        if let Err(error) = files.push(&name, content(message, part).into_owned()) {
            warnings.push(format!("{name} and what follows it is left out: {error}"));
            break;
        }
    }
    (files.into_files(), warnings)
}

fn is_file(part: &MessagePart<'_>) -> bool {
    let is_declared = part.content_disposition().is_some_and(|disposition| disposition.is_attachment());
    let Some(kind) = part.content_type() else { return true };
    match (kind.ctype(), kind.subtype().unwrap_or_default()) {
        ("image", _) => is_declared,
        ("application", "pgp-signature" | "pkcs7-signature" | "x-pkcs7-signature") => false,
        _ => true,
    }
}

fn name(part: &MessagePart<'_>, number: usize) -> String {
    let stated = part.attachment_name().and_then(|name| safe_name(&decoded(name)));
    let ending = ENDINGS.iter().find(|(kind, subtype, _)| part.is_content_type(kind, subtype)).map(|(_, _, ending)| *ending);
    let ending = if part.is_message() { Some("eml") } else { ending };
    let forwarded = || safe_name(&format!("{}.eml", part.message()?.subject()?.replace(['/', '\\'], "-")));
    let numbered = || ending.map_or_else(|| format!("attachment-{number}"), |ending| format!("attachment-{number}.{ending}"));
    stated.or_else(forwarded).unwrap_or_else(numbered)
}

/// Many programs write encoded words (RFC 2047) where they must not stand.
fn decoded(name: &str) -> String {
    let line = format!("{name}\n");
    let words = MessageStream::new(line.as_bytes()).parse_unstructured().into_text().filter(|_| name.contains("=?"));
    words.map_or_else(|| name.to_owned(), Cow::into_owned)
}

/// A part's bytes as they were before they were packed for the way; of a text whose encoding is told, in UTF-8.
fn content<'m>(message: &'m Message<'_>, part: &'m MessagePart<'_>) -> Cow<'m, [u8]> {
    match &part.body {
        PartType::Text(text) | PartType::Html(text) if !text.contains(char::REPLACEMENT_CHARACTER) => text.as_bytes().into(),
        PartType::Binary(bytes) | PartType::InlineBinary(bytes) => bytes.as_ref().into(),
        PartType::Message(inner) if part.encoding != Encoding::None => inner.raw_message.as_ref().into(),
        _ => raw_bytes(message, part),
    }
}

/// A part's bytes, decoded from how they were packed and nothing more.
pub(super) fn raw_bytes<'m>(message: &'m Message<'_>, part: &MessagePart<'_>) -> Cow<'m, [u8]> {
    let packed = message.raw_message.get(part.offset_body as usize..part.offset_end as usize).unwrap_or_default();
    let unpacked = match part.encoding {
        Encoding::Base64 => base64_decode(packed),
        Encoding::QuotedPrintable => quoted_printable_decode(packed),
        Encoding::None => None,
    };
    unpacked.map_or(packed.into(), Cow::Owned)
}

/// Whether the mail is one that only a key opens.
pub(super) fn is_encrypted(message: &Message<'_>) -> bool {
    message.parts.iter().any(|part| {
        let is_enveloped = |subtype| part.is_content_type("application", subtype);
        let is_signed = part.content_type().and_then(|kind| kind.attribute("smime-type")) == Some("signed-data");
        part.is_content_type("multipart", "encrypted") || (!is_signed && (is_enveloped("pkcs7-mime") || is_enveloped("x-pkcs7-mime")))
    })
}
