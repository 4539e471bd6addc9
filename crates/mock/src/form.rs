//! Reads an upload out of a multipart form (RFC 7578), as far as clients of files send one.

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use serde_json::{Value, json};

/// A file with what it is for.
pub(crate) struct Upload {
    pub(crate) filename: String,
    pub(crate) purpose: String,
    pub(crate) bytes: Bytes,
}

impl Upload {
    /// The file and the purpose in a form; nothing if this is none.
    pub(crate) fn read(headers: &HeaderMap, body: &Bytes) -> Option<Self> {
        let boundary = boundary(headers.get(CONTENT_TYPE)?.to_str().ok()?)?;
        let parts = parts(body, &boundary);
        let find = |name: &str| parts.iter().find(|part| part.parameter("name").as_deref() == Some(name));
        let file = find("file")?;
        let purpose = find("purpose").map(|part| String::from_utf8_lossy(&part.bytes).into_owned());
        let filename = file.parameter("filename").unwrap_or_else(|| "file".to_owned());
        Some(Self { filename, purpose: purpose.unwrap_or_default(), bytes: file.bytes.clone() })
    }

    /// What the log of calls keeps.
    pub(crate) fn summary(&self) -> Value {
        json!({"filename": self.filename, "purpose": self.purpose, "bytes": self.bytes.len()})
    }
}

fn boundary(content_type: &str) -> Option<String> {
    let parameters = content_type.strip_prefix("multipart/form-data")?;
    let boundary = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("boundary="))?.trim_matches('"');
    (!boundary.is_empty()).then(|| format!("\r\n--{boundary}"))
}

struct FormPart {
    header: String,
    bytes: Bytes,
}

impl FormPart {
    /// A quoted parameter of its `Content-Disposition`.
    fn parameter(&self, name: &str) -> Option<String> {
        let lines = self.header.lines().filter(|line| line.to_ascii_lowercase().starts_with("content-disposition:"));
        let mut parameters = lines.flat_map(|line| line.split(';')).map(str::trim);
        let value = parameters.find_map(|parameter| parameter.strip_prefix(name)?.strip_prefix('='))?;
        Some(value.trim_matches('"').to_owned())
    }
}

fn parts(body: &Bytes, boundary: &str) -> Vec<FormPart> {
    // The first boundary stands at the beginning, without the line end that belongs to the others.
    let start = boundary.len().saturating_sub(2);
    let mut rest = if body.len() < start { Bytes::new() } else { body.slice(start..) };
    let mut parts = Vec::new();
    while let Some(end) = find(&rest, boundary.as_bytes()) {
        let part = rest.split_to(end);
        rest = rest.split_off(boundary.len());
        // Each begins with the line end of its boundary.
        if let Some(place) = find(&part, b"\r\n\r\n") {
            let header = String::from_utf8_lossy(&part.slice(..place)).trim_start().to_owned();
            parts.push(FormPart { header, bytes: part.slice(place + 4..) });
        }
    }
    parts
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &'static str) -> Option<Upload> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, "multipart/form-data; boundary=\"b-1\"".parse().unwrap());
        Upload::read(&headers, &Bytes::from_static(body.as_bytes()))
    }

    #[test]
    fn a_form_gives_its_file() {
        let upload = read(
            "--b-1\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--b-1\r\ncontent-type: a/b\r\n\
             Content-Disposition: form-data; name=\"file\"; filename=\"in.jsonl\"\r\n\r\n{\"a\":1}\r\n{\"b\":2}\r\n\r\n--b-1--\r\n",
        );
        let upload = upload.unwrap();
        assert_eq!((upload.filename.as_str(), upload.purpose.as_str()), ("in.jsonl", "batch"));
        assert_eq!(upload.bytes, "{\"a\":1}\r\n{\"b\":2}\r\n");
    }

    #[test]
    fn what_is_no_form_gives_none() {
        for body in ["", "-", "--b-1", "--b-1--\r\n", "--b-1\r\nname=\"file\"\r\n\r\nx", "{}"] {
            assert!(read(body).is_none(), "{body:?}");
        }
    }
}
