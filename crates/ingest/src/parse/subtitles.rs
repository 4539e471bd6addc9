//! SubRip and WebVTT: one line a cue, `[00:01:02] words`. The time at which a cue begins is kept,
//! because it is how a person finds the place; styles, positions and comments are not.

use super::decode::Decoded;
use super::{ParseError, ParsedDocument, with_warning};

/// What stands between the two times of a cue.
const ARROW: &str = "-->";

/// Reads either kind: they differ in the head of the file and in the mark before milliseconds.
pub(super) fn parse(decoded: Decoded) -> Result<ParsedDocument, ParseError> {
    let is_web = is_web(&decoded.text);
    let mut lines: Vec<(String, String)> = Vec::new();
    for block in blocks(&decoded.text) {
        let Some((time, words)) = cue(&block) else { continue };
        // captions of live speech repeat a line while the next one grows
        if !words.is_empty() && lines.last().is_none_or(|(_, before)| *before != words) {
            lines.push((time, words));
        }
    }
    let text: String = lines.into_iter().map(|(time, words)| format!("[{time}] {words}\n")).collect();
    let media_type = if is_web { "text/vtt" } else { "application/x-subrip" };
    Ok(with_warning(ParsedDocument::plain(media_type, text), decoded.warning))
}

/// Whether a text is subtitles, whatever its name: WebVTT says so, SubRip begins with a number and a time.
pub(super) fn is_subtitles(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim).skip_while(|line| line.is_empty());
    is_web(text)
        || (lines.next().is_some_and(|line| !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit()))
            && lines.next().is_some_and(|line| line.split_once(ARROW).and_then(|(start, _)| clock(start)).is_some()))
}

fn is_web(text: &str) -> bool {
    text.strip_prefix("WEBVTT").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\n']))
}

/// Lines between empty lines.
fn blocks(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let mut lines = text.lines();
    std::iter::from_fn(move || {
        let first = lines.find(|line| !line.trim().is_empty())?;
        Some(std::iter::once(first).chain(lines.by_ref().take_while(|line| !line.trim().is_empty())).collect())
    })
}

/// The start and the words of a block; `None` for heads, notes and styles.
fn cue(block: &[&str]) -> Option<(String, String)> {
    let timing = block.iter().take(2).position(|line| line.contains(ARROW))?;
    let (start, _) = block.get(timing)?.split_once(ARROW)?;
    let words: Vec<String> = block.iter().skip(timing + 1).map(|line| spoken(line)).filter(|line| !line.is_empty()).collect();
    Some((clock(start)?, words.join(" ")))
}

/// `1:02:03,456` or `02:03.456` as `01:02:03`.
fn clock(time: &str) -> Option<String> {
    let whole = time.trim().split(['.', ',']).next()?;
    let numbers: Vec<u32> = whole.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    match numbers.as_slice() {
        [minutes, seconds] => Some(format!("00:{minutes:02}:{seconds:02}")),
        [hours, minutes, seconds] => Some(format!("{hours:02}:{minutes:02}:{seconds:02}")),
        _ => None,
    }
}

/// A line without tags; `<v Name>` says who speaks.
fn spoken(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once(['<', '{']) {
        let opens = rest.as_bytes().get(before.len()).copied();
        let is_tag = after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/');
        let closed = match opens {
            Some(b'<') => after.split_once('>').filter(|_| is_tag),
            _ => after.strip_prefix('\\').and_then(|after| after.split_once('}')),
        };
        out.push_str(before);
        let Some((tag, after)) = closed else {
            out.push(opens.map_or('<', char::from));
            rest = after;
            continue;
        };
        if let Some(name) = tag.strip_prefix("v ").or_else(|| tag.strip_prefix("v.").and_then(|tag| Some(tag.split_once(' ')?.1))) {
            out.push_str(name.trim());
            out.push_str(": ");
        }
        rest = after;
    }
    out.push_str(rest);
    let out = out
        .replace("&nbsp;", " ")
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&lrm;", "")
        .replace("&rlm;", "")
        .replace("&amp;", "&");
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(subtitles: &str) -> String {
        parse(Decoded { text: subtitles.into(), warning: None }).unwrap().text
    }

    #[test]
    fn subrip_keeps_words_and_starts() {
        let srt = "1\n00:00:01,500 --> 00:00:03,000\n<i>The lamp</i> turns\nonce in {\\an8}nine seconds.\n\n2\n01:02:03,000 --> 01:02:04,000\nFive < six {sic}\n\n3\n01:02:04,000 --> 01:02:05,000\nFive < six {sic}\n";
        assert!(is_subtitles(srt));
        assert_eq!(text(srt), "[00:00:01] The lamp turns once in nine seconds.\n[01:02:03] Five < six {sic}\n");
    }

    #[test]
    fn webvtt_keeps_speakers_and_drops_notes_and_styles() {
        let vtt = "WEBVTT - Station\n\nSTYLE\n::cue { color: red }\n\nNOTE internal\n\nintro\n00:05.000 --> 00:07.000 align:start\n<v.loud Anna Berg>Fog&nbsp;&amp; horn</v>\n";
        assert!(is_subtitles(vtt));
        assert_eq!(text(vtt), "[00:00:05] Anna Berg: Fog & horn\n");
        assert_eq!(parse(Decoded { text: vtt.into(), warning: None }).unwrap().media_type, "text/vtt");
    }

    #[test]
    fn prose_is_no_subtitles() {
        for prose in ["1\nfirst\n", "WEBVTTX", "42", "12\na --> b\n"] {
            assert!(!is_subtitles(prose), "{prose}");
        }
    }
}
