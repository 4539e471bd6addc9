//! Reads when a provider wants to be asked again: `Retry-After` in seconds or as a date (RFC 9110,
//! 10.2.3), or `retry-after-ms` as OpenAI sends it.

use http::header::{HeaderMap, RETRY_AFTER};
use std::time::{Duration, SystemTime};

/// No honest answer asks for more; it also keeps later sums from overflowing.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// The wait asked for; a date in the past means no wait.
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let wait = match text("retry-after-ms").and_then(|ms| ms.parse::<f64>().ok()) {
        Some(ms) => Duration::try_from_secs_f64(ms / 1000.0).ok()?,
        None => in_seconds_or_date(text(RETRY_AFTER.as_str())?, now)?,
    };
    Some(wait.min(LONGEST))
}

fn in_seconds_or_date(value: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = value.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&'static str, &str)]) -> Option<Duration> {
        let headers = pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        retry_after(&headers, SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770))
    }

    #[test]
    fn seconds_dates_and_milliseconds_are_read() {
        assert_eq!(read(&[("retry-after", "7")]), Some(Duration::from_secs(7)));
        assert_eq!(read(&[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")]), Some(Duration::from_secs(7)));
        assert_eq!(read(&[("retry-after", "Sat, 06 Nov 1993 08:49:37 GMT")]), Some(Duration::ZERO));
        assert_eq!(read(&[("retry-after-ms", "1500"), ("retry-after", "2")]), Some(Duration::from_millis(1500)));
    }

    #[test]
    fn nonsense_is_no_wish() {
        for nonsense in ["soon", "-1", "NaN", ""] {
            assert_eq!(read(&[("retry-after", nonsense)]), None, "{nonsense}");
        }
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[("retry-after", "99999999999")]), Some(LONGEST));
    }
}
