//! Outlook messages (MS-OXMSG): subject, people, date and body; attached files become attachments.
//!
//! A message is a compound file with one stream for each property, named by the property's id and
//! type: `__substg1.0_0037001F` is the subject in UTF-16.

use super::blocks::{Blocks, one_line};
use super::{Attachment, ParseError, ParsedDocument, decode, html};
use cfb::CompoundFile;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

const MEDIA_TYPE: &str = "application/vnd.ms-outlook";
/// Files attached to one message, and the bytes of all streams that are read: chains of sectors may
/// be shared, so that what comes out can be many times what went in.
const ATTACHMENTS_MAX: usize = 1_000;
const STREAM_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// Properties (MS-OXPROPS).
const SUBJECT: &str = "0037";
const SENDER_NAME: &str = "0C1A";
const SENDER_SMTP: &str = "5D01";
const SENDER_ADDRESS: &str = "0C1F";
const TO: &str = "0E04";
const CC: &str = "0E03";
const BODY: &str = "1000";
const BODY_HTML: &str = "1013";
const FILE_NAME_LONG: &str = "3707";
const FILE_NAME: &str = "3704";
const FILE_BYTES: &str = "3701";
/// When it was sent, else when it came in.
const TIMES: [u16; 2] = [0x0039, 0x0E06];
/// Type of a property that is a time, and bytes before the properties of a message and of each.
const TIME_TYPE: u16 = 0x0040;
const PROPERTIES_HEAD_BYTES: usize = 32;
const PROPERTY_BYTES: usize = 16;

struct Message<'b> {
    file: CompoundFile<Cursor<&'b [u8]>>,
    bytes_left: u64,
}

pub(super) fn parse(bytes: &[u8]) -> Result<ParsedDocument, ParseError> {
    ParseError::for_panic("the structure of the message can't be read", || read(bytes))
}

fn read(bytes: &[u8]) -> Result<ParsedDocument, ParseError> {
    let file = CompoundFile::open(Cursor::new(bytes)).map_err(ParseError::corrupt)?;
    let mut message = Message { file, bytes_left: STREAM_BYTES_MAX };
    let subject = message.text(SUBJECT)?;
    let mut blocks = Blocks::default();
    blocks.heading(1, &subject);
    blocks.paragraph(&message.head()?.join("\n"));
    blocks.markdown(&message.body()?);
    let document = blocks.finish(MEDIA_TYPE, None);
    Ok(ParsedDocument { attachments: message.attachments()?, ..document })
}

impl Message<'_> {
    /// The lines about people and time.
    fn head(&mut self) -> Result<Vec<String>, ParseError> {
        let (name, smtp) = (self.text(SENDER_NAME)?, self.text(SENDER_SMTP)?);
        let address = if smtp.is_empty() { self.text(SENDER_ADDRESS)? } else { smtp };
        let from = match address.contains('@') && address != name {
            true if name.is_empty() => address,
            true => format!("{name} <{address}>"),
            false => name,
        };
        let lines = [("From", from), ("To", self.text(TO)?), ("Cc", self.text(CC)?), ("Date", self.time()?.unwrap_or_default())];
        Ok(lines.into_iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| format!("{name}: {}", one_line(&value))).collect())
    }

    /// Plain text if there is any, else the HTML.
    fn body(&mut self) -> Result<String, ParseError> {
        let plain = self.text(BODY)?;
        if !plain.is_empty() {
            return Ok(plain.replace("\r\n", "\n"));
        }
        let html = match self.stream(Path::new("/"), BODY_HTML, "0102")? {
            Some(bytes) => decode::decode(&bytes),
            None => Some(decode::Decoded { text: self.text(BODY_HTML)?, warning: None }),
        };
        Ok(html.map(|html| html::parse_whole(html).text).unwrap_or_default())
    }

    fn attachments(&mut self) -> Result<Vec<Attachment>, ParseError> {
        let is_attachment = |entry: &cfb::Entry| entry.is_storage() && entry.name().starts_with("__attach_version1.0_");
        let storages: Vec<PathBuf> =
            self.file.read_root_storage().filter(is_attachment).map(|entry| entry.path().to_owned()).take(ATTACHMENTS_MAX).collect();
        let mut attachments = Vec::new();
        for storage in storages {
            // without bytes it is a message or an object inside, whose streams are no file
            if let Some(bytes) = self.stream(&storage, FILE_BYTES, "0102")? {
                let long = self.text_in(&storage, FILE_NAME_LONG)?;
                let name = if long.is_empty() { self.text_in(&storage, FILE_NAME)? } else { long };
                attachments.push(Attachment { name: one_line(&name), bytes });
            }
        }
        Ok(attachments)
    }

    /// A time of the message in UTC.
    fn time(&mut self) -> Result<Option<String>, ParseError> {
        let properties = self.read(Path::new("/__properties_version1.0"))?.unwrap_or_default();
        let properties: Vec<&[u8]> = properties.get(PROPERTIES_HEAD_BYTES..).unwrap_or_default().chunks_exact(PROPERTY_BYTES).collect();
        let value = |id: u16| {
            let tag = [TIME_TYPE.to_le_bytes(), id.to_le_bytes()].concat();
            let property = properties.iter().find(|property| property.starts_with(&tag))?;
            Some(u64::from_le_bytes(property.last_chunk::<8>().copied()?))
        };
        Ok(TIMES.into_iter().find_map(value).map(moment))
    }

    fn text(&mut self, property: &str) -> Result<String, ParseError> {
        self.text_in(Path::new("/"), property)
    }

    /// In UTF-16, else in some 8-bit encoding; empty if there is none.
    fn text_in(&mut self, storage: &Path, property: &str) -> Result<String, ParseError> {
        if let Some(bytes) = self.stream(storage, property, "001F")? {
            return Ok(encoding_rs::UTF_16LE.decode_without_bom_handling(&bytes).0.trim().to_owned());
        }
        let bytes = self.stream(storage, property, "001E")?.unwrap_or_default();
        Ok(decode::decode(&bytes).map(|decoded| decoded.text.trim().to_owned()).unwrap_or_default())
    }

    fn stream(&mut self, storage: &Path, property: &str, kind: &str) -> Result<Option<Vec<u8>>, ParseError> {
        self.read(&storage.join(format!("__substg1.0_{property}{kind}")))
    }

    fn read(&mut self, path: &Path) -> Result<Option<Vec<u8>>, ParseError> {
        if !self.file.is_stream(path) {
            return Ok(None);
        }
        let stream = self.file.open_stream(path).map_err(ParseError::corrupt)?;
        let mut bytes = Vec::new();
        stream.take(self.bytes_left + 1).read_to_end(&mut bytes).map_err(ParseError::corrupt)?;
        let too_large = ParseError::TooLarge { what: "the content of the message".to_owned(), bytes_max: STREAM_BYTES_MAX };
        self.bytes_left = self.bytes_left.checked_sub(bytes.len() as u64).ok_or(too_large)?;
        Ok(Some(bytes))
    }
}

/// Seconds from the epoch of Windows (1601) to that of Unix, and days from year 0 (1 March) to the latter.
const EPOCH_S: i64 = 11_644_473_600;
const EPOCH_DAYS: i64 = 719_468;

/// A count of 100 ns since 1601 as `2024-03-01 09:30 UTC`. The calendar is that of
/// <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>.
fn moment(ticks: u64) -> String {
    let seconds = i64::try_from(ticks / 10_000_000).unwrap_or_default() - EPOCH_S;
    let days = seconds.div_euclid(86_400) + EPOCH_DAYS;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let minutes = seconds.rem_euclid(86_400) / 60;
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn message(streams: &[(&str, &[u8])]) -> Vec<u8> {
        let mut file = CompoundFile::create(Cursor::new(Vec::new())).unwrap();
        for (path, bytes) in streams {
            file.create_storage_all(Path::new(path).parent().unwrap()).unwrap();
            file.create_stream(path).unwrap().write_all(bytes).unwrap();
        }
        file.flush().unwrap();
        file.into_inner().into_inner()
    }

    fn utf16(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    #[test]
    fn a_message_has_a_head_a_body_and_files() {
        let sent = [&[0; 32][..], &[0x40, 0, 0x39, 0], &[6, 0, 0, 0], &133_536_942_000_000_000u64.to_le_bytes()].concat();
        let document = parse(&message(&[
            ("/__properties_version1.0", &sent),
            ("/__substg1.0_0037001F", &utf16("Öl is\u{a0}low")),
            ("/__substg1.0_0C1A001F", &utf16("Anna Berg")),
            ("/__substg1.0_0C1F001F", &utf16("anna@example.org")),
            ("/__substg1.0_0E04001E", b"keeper@example.org"),
            ("/__substg1.0_1000001F", &utf16("Bring four barrels.\r\nAnna\0")),
            ("/__attach_version1.0_#00000000/__substg1.0_3707001F", &utf16("list.csv")),
            ("/__attach_version1.0_#00000000/__substg1.0_37010102", b"a,b"),
            ("/__attach_version1.0_#00000001/__substg1.0_3704001F", &utf16("no bytes")),
        ]))
        .unwrap();
        let expected = "# Öl is low\n\nFrom: Anna Berg <anna@example.org>\nTo: keeper@example.org\nDate: 2024-02-29 15:30 UTC\n\nBring four barrels.\nAnna";
        assert_eq!(document.text, expected);
        assert_eq!(document.attachments, [Attachment { name: "list.csv".into(), bytes: b"a,b".to_vec() }]);
        assert_eq!(document.title.as_deref(), Some("Öl is low"));
    }

    #[test]
    fn html_stands_in_for_a_missing_text() {
        let document =
            parse(&message(&[("/__substg1.0_10130102", b"<html><body><p>Fog <b>tonight</b></p><script>x()</script></body></html>")]))
                .unwrap();
        assert_eq!(document.text, "Fog **tonight**");
    }

    #[test]
    fn noise_is_corrupt() {
        let broken = [&b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"[..], &[7; 3000]].concat();
        assert!(matches!(parse(&broken), Err(ParseError::Corrupt { .. })));
    }
}
