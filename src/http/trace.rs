//! What names one request in answers, logs and traces.

use axum::http::HeaderMap;
use corpus::TraceId;

/// Longest request id that a caller may choose.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// The two names of a request.
#[derive(Debug, Clone)]
pub(crate) struct RequestIds {
    /// The caller's `X-Request-Id`, or our trace id.
    pub(crate) request: String,
    /// Goes on with the caller's trace, if it named one as W3C `traceparent`.
    pub(crate) trace: TraceId,
}

impl RequestIds {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let trace = trace_of_parent(headers).and_then(TraceId::continued).unwrap_or_else(TraceId::generate);
        let given = headers.get("x-request-id").and_then(|value| value.to_str().ok());
        let is_plain = |id: &&str| (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.chars().all(|c| c.is_ascii_graphic());
        Self { request: given.filter(is_plain).unwrap_or(trace.as_str()).to_owned(), trace }
    }
}

/// The trace id of a `traceparent` that is valid by W3C Trace Context (section 3.2):
/// `version-trace-parent-flags` in lower-case hexadecimal digits. Later versions may add fields.
fn trace_of_parent(headers: &HeaderMap) -> Option<&str> {
    let mut given = headers.get_all("traceparent").iter();
    let (Some(value), None) = (given.next(), given.next()) else { return None };
    let fields: Vec<&str> = value.to_str().ok()?.split('-').collect();
    let [version, trace, parent, flags, more @ ..] = fields.as_slice() else { return None };
    let is_known = is_hex(version, 2) && *version != "ff" && (*version != "00" || more.is_empty());
    let is_valid = is_known && is_id(trace, 32) && is_id(parent, 16) && is_hex(flags, 2);
    is_valid.then_some(*trace)
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Hexadecimal digits that are not all zero.
fn is_id(text: &str, length: usize) -> bool {
    is_hex(text, length) && text.bytes().any(|byte| byte != b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn ids(headers: &[(&'static str, &str)]) -> RequestIds {
        RequestIds::of(&headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect())
    }

    #[test]
    fn a_valid_parent_is_continued() {
        let parents = [format!("00-{TRACE}-00f067aa0ba902b7-01"), format!("cc-{TRACE}-00f067aa0ba902b7-01-more")];
        for parent in parents {
            let ids = ids(&[("traceparent", &parent)]);
            assert_eq!(ids.trace.as_str(), format!("trc_{TRACE}"));
            assert_eq!(ids.trace.as_str().parse(), Ok(ids.trace), "it is an id like any other");
        }
    }

    #[test]
    fn an_invalid_one_starts_a_trace_of_our_own() {
        let zero = "0".repeat(32);
        for parent in [
            format!("00-{zero}-00f067aa0ba902b7-01"),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("ff-{TRACE}-00f067aa0ba902b7-01"),
            format!("00-{TRACE}-00f067aa0ba902b7-01-more"),
            format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-00f067aa0ba902b7"),
            "nonsense".to_owned(),
        ] {
            assert!(!ids(&[("traceparent", &parent)]).trace.as_str().contains(TRACE), "{parent}");
        }
    }

    #[test]
    fn a_request_id_is_kept_if_it_is_plain() {
        assert_eq!(ids(&[("x-request-id", "mine-1")]).request, "mine-1");
        for bad in ["", "with space", &"x".repeat(REQUEST_ID_BYTES_MAX + 1)] {
            let ids = ids(&[("x-request-id", bad)]);
            assert_eq!(ids.request, ids.trace.as_str());
        }
    }
}
