//! Addresses of the net: e-mail, URLs and names of hosts, IP.

use super::context::before;
use super::digits::is_word;
use regex::Regex;
use std::net::Ipv6Addr;
use std::ops::Range;
use std::sync::LazyLock;

/// Longest URL that is taken as one.
const URL_BYTES_MAX: usize = 2048;
/// Longest name of a host (RFC 1035).
const HOST_BYTES_MAX: usize = 253;
/// Longest part of an e-mail address before the `@` (RFC 5321).
const LOCAL_BYTES_MAX: usize = 64;
/// Longest IPv4 address.
const IPV4_BYTES_MAX: usize = 15;
/// Endings of host names that are taken as such without anything else that says so.
const ENDINGS: &str = " com org net edu gov mil int info biz name pro mobi online site shop store tech app dev cloud io ai co eu \
    ac ad ae af ag al am ar at au az ba bd be bg bh bn bo br by bz ca cc ch ci cl cm cn cr cu cx cy cz de dk do dz ec ee eg es et fi fj fm \
    fo fr ga gd ge gg gh gi gl gm gr gt gu hk hn hr ht hu id ie il im in iq ir is it je jm jo jp ke kg kh kr kw ky kz la lb li lk lt lu lv ly \
    ma mc me mg mk mm mn mo mr mt mu mv mw mx my mz na ng ni nl no np nu nz om pa pe pf pg ph pk pl pr pt pw py qa re ro ru rw sa sc sd se sg \
    si sk sm sn sr st su sv sy th tj tk tn to tr tt tv tw tz ua ug uk us uy uz va vc ve vg vi vn ws ye za zm zw xyz club news blog travel jobs \
    museum coop aero asia cat tel example test ";
/// Endings that names of files and of code have too: taken as a host's only with `www.` or a path.
const FILE_ENDINGS: &str = " py rs md sh so ps cc ml zip mov app name pl st is in it at be do no to me my us am as by id la re ";

static SCHEME: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)(?:https?|ftps?|sftp|wss?|ssh|git|ldaps?|jdbc:[a-z]{2,16}|postgres(?:ql)?|mysql|mongodb(?:\+srv)?|redis)://|www\.")
        .ok()
});
static IPV4: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}").ok());
static HOST: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,6}[A-Za-z]{2,8}").ok());

/// URLs with a scheme or `www.`, and names of hosts.
pub(super) fn urls(text: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for begin in SCHEME.as_ref().map(|pattern| pattern.find_iter(text)).into_iter().flatten() {
        let is_inside = found.last().is_some_and(|last| begin.start() < last.end);
        if is_inside || text.get(..begin.start()).unwrap_or_default().chars().next_back().is_some_and(is_word) {
            continue;
        }
        let end = begin.end() + url_length(text.get(begin.end()..).unwrap_or_default());
        if end > begin.end() {
            found.push(begin.start()..end);
        }
    }
    let with_scheme = found.len();
    for host in HOST.as_ref().map(|pattern| pattern.find_iter(text)).into_iter().flatten() {
        let is_taken = |range: &Range<usize>| {
            let before = found.get(..with_scheme).unwrap_or_default();
            before.get(before.partition_point(|url| url.end <= range.start)).is_some_and(|url| url.start < range.end)
        };
        if let Some(range) = bare_host(text, host.range()).filter(|range| !is_taken(range)) {
            found.push(range);
        }
    }
    found.sort_by_key(|range| range.start);
    found
}

/// The name of a host with what may follow it, where nothing announces it.
fn bare_host(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let host = text.get(range.clone())?;
    let ending = host.rsplit('.').next()?;
    let is_upper = host.chars().all(|c| !c.is_ascii_lowercase());
    let is_cased = ending.chars().all(|c| c.is_ascii_lowercase()) || is_upper && host.len() > 6;
    let listed = format!(" {} ", ending.to_ascii_lowercase());
    let after = text.get(range.end..)?;
    let path = if after.starts_with('/') { url_length(after) } else { 0 };
    let is_announced = path > 1 || host.matches('.').count() > 1;
    let is_known =
        ENDINGS.contains(&listed) && (is_announced || !FILE_ENDINGS.contains(&listed) || host.len() > 10 && !is_file_like(ending));
    let first = host.split('.').next()?;
    let is_named = first.len() > 1 && first.chars().any(|c| c.is_ascii_alphabetic());
    let beside = text.get(..range.start)?.chars().next_back();
    let follows = after.chars().next();
    let is_call = follows.is_some_and(|c| c == '(' || c == '_' || c == '@' || is_word(c))
        || after.strip_prefix('.').is_some_and(|rest| rest.starts_with(is_word));
    let is_free = !beside.is_some_and(|c| is_word(c) || matches!(c, '@' | '/' | '.' | '\\' | '-' | '+' | '%' | '&')) && !is_call;
    (is_cased && is_known && is_named && is_free && host.len() <= HOST_BYTES_MAX).then_some(range.start..range.end + path)
}

fn is_file_like(ending: &str) -> bool {
    ["py", "rs", "md", "sh", "so", "ps", "cc", "ml", "zip", "mov", "app", "name"].contains(&ending)
}

/// How far a URL goes on: to a space, a quote, or a character that no URL holds; not over the full stop behind it.
fn url_length(rest: &str) -> usize {
    let is_part = |c: char| {
        c.is_ascii_graphic() && !matches!(c, '<' | '>' | '"' | '`' | '{' | '}' | '|' | '\\' | '^') || c.is_alphabetic() && c < '\u{2e80}'
    };
    let length: usize = rest
        .chars()
        .take_while(|c| is_part(*c))
        .map(char::len_utf8)
        .scan(0, |sum, length| {
            *sum += length;
            (*sum <= URL_BYTES_MAX).then_some(length)
        })
        .sum();
    let url = rest.get(..length).unwrap_or_default();
    // Closing brackets without an opening one stand around the URL.
    let surplus = |open: char, close: char| url.matches(close).count().saturating_sub(url.matches(open).count());
    let (mut round, mut square) = (surplus('(', ')'), surplus('[', ']'));
    let end = url.char_indices().rev().find(|(_, c)| {
        let surplus = match c {
            '.' | ',' | ';' | ':' | '!' | '?' | '\'' | '*' | '_' => return false,
            ')' => &mut round,
            ']' => &mut square,
            _ => return true,
        };
        let is_part = *surplus == 0;
        *surplus = surplus.saturating_sub(1);
        is_part
    });
    end.map_or(0, |(at, c)| at + c.len_utf8())
}

/// E-mail addresses: what is allowed on both sides of an `@`.
pub(super) fn emails(text: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for (at, sign) in text.char_indices().filter(|(_, c)| matches!(c, '@' | '＠')) {
        let after = at + sign.len_utf8();
        let least = found.last().map_or(0, |last| last.end).max(at.saturating_sub(LOCAL_BYTES_MAX));
        let least = (least..=at).find(|start| text.is_char_boundary(*start)).unwrap_or(at);
        let local = text.get(least..at).unwrap_or_default();
        let is_local = |c: char| {
            c.is_alphanumeric() && c < '\u{590}' || matches!(c, '.' | '_' | '%' | '+' | '-' | '\'' | '!' | '#' | '$' | '&' | '*' | '~')
        };
        let start = least + local.char_indices().rev().take_while(|(_, c)| is_local(*c)).last().map_or(local.len(), |(start, _)| start);
        let local = text.get(start..at).unwrap_or_default();
        let start = start + (local.len() - local.trim_start_matches(['.', '\'', '*', '&', '!', '#', '~', '-']).len());
        let rest = text.get(after..).unwrap_or_default();
        let is_host = |c: char| c.is_alphanumeric() && c < '\u{590}' || matches!(c, '.' | '-');
        let length: usize = rest.chars().take(HOST_BYTES_MAX).take_while(|c| is_host(*c)).map(char::len_utf8).sum();
        let host = rest.get(..length).unwrap_or_default().trim_end_matches(['.', '-']);
        let ending = host.rsplit_once('.').map(|(_, ending)| ending);
        let is_whole =
            ending.is_some_and(|ending| ending.len() >= 2 && ending.chars().all(char::is_alphabetic) || ending.starts_with("xn--"));
        if start < at && is_whole && !host.starts_with('.') && !host.contains("..") {
            found.push(start..after + host.len());
        }
    }
    found
}

/// IPv4 and IPv6 addresses; not numbers of versions and sections.
pub(super) fn ips(text: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = IPV4
        .as_ref()
        .map(|pattern| pattern.find_iter(text))
        .into_iter()
        .flatten()
        .map(|one| one.range())
        .filter(|range| is_ipv4(text, range))
        .collect();
    found.extend(ipv6(text));
    found.sort_by_key(|range| (range.start, std::cmp::Reverse(range.end)));
    found
}

fn is_ipv4(text: &str, range: &Range<usize>) -> bool {
    let value = text.get(range.clone()).unwrap_or_default();
    let before_it = text.get(..range.start).unwrap_or_default();
    let after_it = text.get(range.end..).unwrap_or_default();
    let is_sided = before_it.chars().next_back().is_some_and(|c| is_word(c) || c == '.' || c == '-' && !ends_a_range(before_it))
        || after_it.chars().next().is_some_and(|c| is_word(c) || c == '-' && !begins_a_range(after_it))
        || after_it.strip_prefix('.').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let is_in_range =
        value.split('.').all(|part| part.parse::<u16>().is_ok_and(|part| part < 256) && (part.len() == 1 || !part.starts_with('0')));
    let before = before(text, range.start);
    let words = [
        "version",
        "versions",
        "v",
        "ver",
        "ver.",
        "release",
        "build",
        "firmware",
        "section",
        "sections",
        "sec",
        "sec.",
        "subsection",
        "chapter",
        "clause",
        "clauses",
        "article",
        "paragraph",
        "figure",
        "fig.",
        "table",
        "annex",
        "appendix",
        "abschnitt",
        "kapitel",
        "ziffer",
        "§",
        "版本",
        "版本号",
        "版",
        "升级到",
        "固件",
        "章节",
        "第",
        "条款",
    ];
    let tail = before.trim_end_matches([' ', ':', '：', '=', '"']);
    let is_version = words.iter().any(|word| tail.strip_suffix(word).is_some_and(|rest| !rest.ends_with(is_word) || !word.is_ascii()));
    !is_sided && is_in_range && !is_version && !is_heading(value, before_it, after_it)
}

/// Whether `-` and another address follow.
fn begins_a_range(after: &str) -> bool {
    let end = after.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '-').unwrap_or(after.len()).min(2 * IPV4_BYTES_MAX);
    let rest = after.get(1..end).unwrap_or_default();
    IPV4.as_ref().and_then(|pattern| pattern.find(rest)).is_some_and(|found| found.start() == 0)
}

/// Whether another address and `-` stand before.
fn ends_a_range(before: &str) -> bool {
    let before = before.strip_suffix('-').unwrap_or_default();
    let digits = |c: &char| c.is_ascii_digit() || *c == '.';
    let length = before.chars().rev().take(IPV4_BYTES_MAX).take_while(digits).count();
    let tail = before.get(before.len() - length..).unwrap_or_default();
    IPV4.as_ref().and_then(|pattern| pattern.find(tail)).is_some_and(|found| found.range() == (0..tail.len()))
}

/// Whether it is the number of a section: small ones from 1 on, at the beginning of a line and before a word. Addresses
/// that begin with 10 are private ones.
fn is_heading(value: &str, before: &str, after: &str) -> bool {
    let line = before.rsplit('\n').next().unwrap_or_default();
    let is_begun = line.len() <= 8 && line.chars().all(|c| matches!(c, ' ' | '\t' | '#' | '*'));
    let title = after.strip_prefix('.').unwrap_or(after);
    let is_titled = title.trim_start_matches([' ', '\t']).starts_with(char::is_alphabetic);
    is_begun && is_titled && !value.starts_with("10.") && value.split('.').all(|part| (1..=30).contains(&part.parse().unwrap_or(0)))
}

fn ipv6(text: &str) -> Vec<Range<usize>> {
    let is_part = |c: char| c.is_ascii_hexdigit() || c == ':' || c == '.';
    let mut found = Vec::new();
    let mut start = None;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        match (is_part(c), start) {
            (true, None) => start = Some(at),
            (false, Some(begin)) => {
                let is_glued = text.get(..begin).unwrap_or_default().chars().next_back().is_some_and(is_word);
                let value = text.get(begin..at).unwrap_or_default();
                // A label may stand before it without a space: `IPv6:2001:db8::1`.
                let label = if is_glued { value.find(':').map(|colon| colon + 1) } else { Some(0) };
                if let Some(label) = label.filter(|_| !is_word(c)) {
                    found.extend(ipv6_length(value.get(label..).unwrap_or_default()).map(|length| begin + label..begin + label + length));
                }
                start = None;
            }
            _ => {}
        }
    }
    found
}

/// Bytes of the address that hexadecimal digits, colons and dots are.
fn ipv6_length(value: &str) -> Option<usize> {
    let value = value.trim_end_matches('.');
    let value = if value.ends_with(':') && !value.ends_with("::") { value.trim_end_matches(':') } else { value };
    let is_address = value.len() <= 45 && value.matches(':').count() >= 2 && value.parse::<Ipv6Addr>().is_ok();
    let is_code = value.split(':').filter(|part| !part.is_empty()).count() < 3 && !value.contains(|c: char| c.is_ascii_digit());
    (is_address && !is_code).then_some(value.len())
}
