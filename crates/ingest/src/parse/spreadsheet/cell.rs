//! A cell's value as text: as a person would write it, not in the format that the sheet gives it.

use calamine::{Data, ExcelDateTime};

/// Numbers outside these powers of ten are written with an exponent.
const PLAIN_MIN: f64 = 1e-6;
const PLAIN_MAX: f64 = 1e15;

pub(super) fn text(value: Data) -> String {
    match value {
        Data::Int(number) => number.to_string(),
        Data::Float(number) => number_text(number),
        Data::String(text) | Data::DateTimeIso(text) | Data::DurationIso(text) => text,
        Data::Bool(true) => "TRUE".to_owned(),
        Data::Bool(false) => "FALSE".to_owned(),
        Data::DateTime(moment) => moment_text(&moment),
        Data::Error(error) => error.to_string(),
        Data::Empty => String::new(),
    }
}

/// With 15 significant digits, which is what a sheet calculates with and shows.
fn number_text(number: f64) -> String {
    let rounded = format!("{number:.14e}").parse::<f64>().unwrap_or(number);
    let is_plain = rounded == 0.0 || (PLAIN_MIN..PLAIN_MAX).contains(&rounded.abs());
    if is_plain { rounded.to_string() } else { format!("{rounded:e}") }
}

/// A date, a date with its time, a time of day, or hours and minutes.
fn moment_text(moment: &ExcelDateTime) -> String {
    if moment.is_duration() {
        return duration_text(moment.as_f64());
    }
    let (year, month, day, hour, minute, second, _) = moment.to_ymd_hms_milli();
    let is_midnight = (hour, minute, second) == (0, 0, 0);
    let time = if second == 0 { format!("{hour:02}:{minute:02}") } else { format!("{hour:02}:{minute:02}:{second:02}") };
    match (0.0..1.0).contains(&moment.as_f64()) {
        true => time,
        false if is_midnight => format!("{year:04}-{month:02}-{day:02}"),
        false => format!("{year:04}-{month:02}-{day:02} {time}"),
    }
}

/// `days` as `[h]:mm:ss`.
fn duration_text(days: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "a float to integer cast saturates")]
    let seconds = (days * 86_400.0).round() as i64;
    let (sign, seconds) = (if seconds < 0 { "-" } else { "" }, seconds.unsigned_abs());
    format!("{sign}{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use calamine::{CellErrorType, ExcelDateTimeType};

    #[test]
    fn values_read_as_a_person_writes_them() {
        let date = |value| Data::DateTime(ExcelDateTime::new(value, ExcelDateTimeType::DateTime, false));
        let span = |value| Data::DateTime(ExcelDateTime::new(value, ExcelDateTimeType::TimeDelta, false));
        for (value, expected) in [
            (Data::Float(0.1 + 0.2), "0.3"),
            (Data::Float(-1200.0), "-1200"),
            (Data::Float(1e300), "1e300"),
            (Data::Float(0.0), "0"),
            (Data::Int(7), "7"),
            (Data::Bool(true), "TRUE"),
            (Data::Error(CellErrorType::Div0), "#DIV/0!"),
            (date(45_943.5), "2025-10-13 12:00"),
            (date(45_943.0), "2025-10-13"),
            (date(0.25), "06:00"),
            (span(1.5), "36:00:00"),
            (span(-0.5), "-12:00:00"),
            (Data::Empty, ""),
        ] {
            assert_eq!(text(value), expected);
        }
    }
}
