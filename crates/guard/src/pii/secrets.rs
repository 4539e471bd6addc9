//! Keys, tokens and passwords: by the marks that providers give theirs, and by the words before a value.

use super::digits::is_word;
use super::pem;
use regex::Regex;
use std::ops::Range;
use std::sync::LazyLock;

/// Marks that words in an address may begin with too: `sk-bratislava-hotel-2024`.
const WORDLIKE_MARKS: [&str; 7] = ["sk-", "co-", "co_", "fw-", "fw_", "r8-", "r8_"];

/// Marks of providers' keys.
static MARKED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let keys = [
        r"(?:AKIA|ASIA|ABIA|ACCA|AROA)[0-9A-Z]{16}",                           // AWS
        r"sk-[A-Za-z0-9_-]{20,256}",                                           // OpenAI, Anthropic, DeepSeek and others
        r"gh[pousr]_[A-Za-z0-9]{30,255}",                                      // GitHub
        r"github_pat_[A-Za-z0-9_]{22,255}",                                    // GitHub
        r"glpat-[A-Za-z0-9_-]{20,64}",                                         // GitLab
        r"xox[abeoprs]-[A-Za-z0-9-]{10,255}",                                  // Slack
        r"xapp-[A-Za-z0-9-]{20,255}",                                          // Slack
        r"AIza[0-9A-Za-z_-]{35}",                                              // Google
        r"ya29\.[0-9A-Za-z_-]{20,512}",                                        // Google
        r"GOCSPX-[0-9A-Za-z_-]{20,64}",                                        // Google
        r"(?:sk|rk|pk)_(?:live|test)_[0-9A-Za-z]{16,255}",                     // Stripe
        r"whsec_[0-9A-Za-z+/=]{20,128}",                                       // Stripe
        r"SG\.[A-Za-z0-9_-]{16,64}\.[A-Za-z0-9_-]{16,64}",                     // SendGrid
        r"hf_[A-Za-z0-9]{30,64}",                                              // Hugging Face
        r"(?:gsk|xai|nvapi|pplx|r8|tvly|jina|co|fw)[_-][A-Za-z0-9_-]{32,128}", // providers of models
        r"npm_[A-Za-z0-9]{36}",                                                // npm
        r"pypi-[A-Za-z0-9_-]{32,512}",                                         // PyPI
        r"do[oprt]_v1_[a-f0-9]{64}",                                           // DigitalOcean
        r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}",                                 // Shopify
        r"LTAI[A-Za-z0-9]{12,30}",                                             // Alibaba Cloud
        r"AKID[A-Za-z0-9]{13,40}",                                             // Tencent Cloud
    ];
    Regex::new(&keys.join("|")).ok()
});
/// `Authorization: Bearer …`.
static AUTHORIZED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"(?i:authorization["']?\s{0,4}[:=]\s{0,4}["']?(?:bearer|basic|token)) +([A-Za-z0-9._~+/=-]{16,1024})"#).ok()
});
/// `Bearer …`, `Basic …`.
static BEARER: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"(?i:\b(?:bearer|basic)) +([A-Za-z0-9._~+/=-]{16,1024})").ok());
/// `scheme://user:password@`.
static IN_URL: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r#"://[^\s:/@"'<>]{0,64}:([^\s/@"'<>]{3,128})@"#).ok());
/// A word for a secret, then a value.
static NAMED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r"(?i:(?:password|passwd|passwort|kennwort|passphrase|pwd|secret|api[ _-]?key|apikey|access[ _-]?key|secret[ _-]?key|private[ _-]?key",
        r"|access[ _-]?token|auth[ _-]?token|refresh[ _-]?token|client[ _-]?secret|token|credentials?)|密码|密碼|口令|密钥|金鑰|令牌)",
        r#"["']?(?: {0,3}(?:=>|[:=：＝]) {0,3}| (?:is|ist|was|lautet):? {1,2}| {0,2}(?:是|为|為)[:：]? {0,2})["'`“]?([^\s"'`“”<>，。；、]{6,256})"#,
    ))
    .ok()
});

/// Places of secrets.
pub(super) fn find(text: &str) -> Vec<Range<usize>> {
    let mut found = pem::find(text);
    found.extend(web_tokens(text));
    let marked = MARKED.as_ref().map(|pattern| pattern.find_iter(text)).into_iter().flatten().map(|one| one.range());
    found.extend(marked.filter(|range| is_marked_key(text, range)));
    let first_group = |pattern: &'static LazyLock<Option<Regex>>| {
        let captures = pattern.as_ref().map(|pattern| pattern.captures_iter(text)).into_iter().flatten();
        captures.filter_map(|captures| captures.get(1)).map(|value| value.range())
    };
    let value = |range: &Range<usize>| text.get(range.clone()).unwrap_or_default();
    let credentials = |pattern| first_group(pattern).map(|range| without_tail(text, range));
    found.extend(credentials(&AUTHORIZED).filter(|range| classes(value(range)) >= 2 && bits_a_character(value(range)) > 3.0));
    found.extend(credentials(&BEARER).filter(|range| is_credential(value(range))));
    found.extend(first_group(&IN_URL));
    found.extend(first_group(&NAMED).map(|range| without_tail(text, range)).filter(|range| is_password(value(range))));
    found.sort_by_key(|range| (range.start, std::cmp::Reverse(range.end)));
    found
}

/// JSON Web Tokens: signed (RFC 7519) and encrypted (RFC 7516).
fn web_tokens(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut end = 0;
    for (start, _) in text.match_indices("eyJ") {
        if start < end || !begins_word(text, start) {
            continue;
        }
        let rest = text.get(start..).unwrap_or_default();
        let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '-' | '.')).unwrap_or(rest.len());
        end = start + length;
        let whole = rest.get(..length).unwrap_or_default().trim_end_matches('.');
        let parts: Vec<&str> = whole.splitn(6, '.').collect();
        let length = match parts.as_slice() {
            [header, payload, signature @ ..] if header.len() > 10 && payload.len() > 6 && payload.starts_with("eyJ") => {
                header.len() + 1 + payload.len() + signature.first().map_or(0, |signature| 1 + signature.len())
            }
            // An initialisation vector has 12 bytes at least.
            [header, _key, vector, _text, _tag] if header.len() > 10 && vector.len() >= 16 => whole.len(),
            _ => continue,
        };
        found.push(start..start + length);
    }
    found
}

fn begins_word(text: &str, at: usize) -> bool {
    !text.get(..at).unwrap_or_default().chars().next_back().is_some_and(is_word)
}

/// Whether it begins a word and is no word itself: `sk-learn-contrib-estimators` has no digit.
fn is_marked_key(text: &str, range: &Range<usize>) -> bool {
    let value = text.get(range.clone()).unwrap_or_default();
    begins_word(text, range.start) && value.contains(|c: char| c.is_ascii_digit()) && bits_a_character(value) > 3.0 && !is_words(value)
}

/// Whether the value may be words and years between hyphens.
fn is_words(value: &str) -> bool {
    let is_drawn =
        |part: &str| part.len() >= 8 && part.contains(|c: char| c.is_ascii_digit()) && part.contains(|c: char| c.is_ascii_alphabetic());
    WORDLIKE_MARKS.iter().any(|mark| value.starts_with(mark)) && !value.split(['-', '_']).any(is_drawn)
}

/// Whether what stands behind `Bearer` or `Basic` is no word: `basic self-determination`.
fn is_credential(value: &str) -> bool {
    let has = |is_one: fn(char) -> bool| value.contains(is_one);
    let is_mixed = has(|c| c.is_ascii_lowercase()) && has(|c| c.is_ascii_uppercase());
    let is_long = value.len() >= 24 && !has(|c| matches!(c, '-' | '.' | '/'));
    has(|c| c.is_ascii_digit()) && (is_mixed || is_long) && bits_a_character(value) > 3.0
}

fn without_tail(text: &str, range: Range<usize>) -> Range<usize> {
    let value = text.get(range.clone()).unwrap_or_default();
    range.start..range.start + value.trim_end_matches([',', ';', '.', ')', ']', '}', '!', '?']).len()
}

/// Whether the value behind a word for a secret may be one: no plain word, no placeholder, no code.
fn is_password(value: &str) -> bool {
    let is_code = value.contains(['(', '{', '[', '<', '$']) && value.contains([')', '}', ']', '>', '('])
        || value.starts_with("${")
        || value.starts_with("://");
    let is_hidden = value.chars().all(|c| matches!(c, '*' | 'x' | 'X' | '.' | '•' | '-' | '_'));
    let is_mixed = classes(value) >= 2
        && value.chars().any(|c| c.is_ascii_digit() || c.is_ascii_punctuation() && !matches!(c, '-' | '_' | '.' | '/' | ':' | ','));
    let is_chinese = value.chars().any(|c| c > '\u{2e80}');
    let is_number = value.chars().all(|c| c.is_ascii_digit());
    value.len() >= 6
        && !is_code
        && !is_hidden
        && !is_chinese
        && (is_mixed || is_number || value.len() >= 20 && bits_a_character(value) > 3.5 && !value.contains(['/', '-']))
}

/// How many of small letters, capitals, digits and signs there are.
fn classes(value: &str) -> usize {
    let of = |is_one: fn(char) -> bool| usize::from(value.contains(is_one));
    of(|c| c.is_ascii_lowercase()) + of(|c| c.is_ascii_uppercase()) + of(|c| c.is_ascii_digit()) + of(|c| c.is_ascii_punctuation())
}

/// Shannon's entropy of the characters.
fn bits_a_character(value: &str) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in value.bytes() {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    }
    let total = f64::from(u32::try_from(value.len()).unwrap_or(u32::MAX)).max(1.0);
    counts.iter().filter(|count| **count > 0).map(|count| f64::from(*count) / total).map(|share| -share * share.log2()).sum()
}
