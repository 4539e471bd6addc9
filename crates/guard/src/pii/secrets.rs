//! Keys, tokens and passwords: by the marks that providers give theirs, and by the words before a value.

use super::digits::is_word;
use regex::Regex;
use std::ops::Range;
use std::sync::LazyLock;

/// Longest key in PEM that is taken as one.
const PEM_BYTES_MAX: usize = 16 * 1024;

/// Marks of providers' keys.
static MARKED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let keys = [
        r"(?:AKIA|ASIA|ABIA|ACCA|AROA)[0-9A-Z]{16}",                                  // AWS
        r"sk-[A-Za-z0-9_-]{20,256}",                                                  // OpenAI, Anthropic, DeepSeek and others
        r"gh[pousr]_[A-Za-z0-9]{30,255}",                                             // GitHub
        r"github_pat_[A-Za-z0-9_]{22,255}",                                           // GitHub
        r"glpat-[A-Za-z0-9_-]{20,64}",                                                // GitLab
        r"xox[abeoprs]-[A-Za-z0-9-]{10,255}",                                         // Slack
        r"xapp-[A-Za-z0-9-]{20,255}",                                                 // Slack
        r"AIza[0-9A-Za-z_-]{35}",                                                     // Google
        r"ya29\.[0-9A-Za-z_-]{20,512}",                                               // Google
        r"GOCSPX-[0-9A-Za-z_-]{20,64}",                                               // Google
        r"(?:sk|rk|pk)_(?:live|test)_[0-9A-Za-z]{16,255}",                            // Stripe
        r"whsec_[0-9A-Za-z+/=]{20,128}",                                              // Stripe
        r"SG\.[A-Za-z0-9_-]{16,64}\.[A-Za-z0-9_-]{16,64}",                            // SendGrid
        r"hf_[A-Za-z0-9]{30,64}",                                                     // Hugging Face
        r"(?:gsk|xai|nvapi|pplx|r8|tvly|jina|co|fw)[_-][A-Za-z0-9_-]{32,128}",        // providers of models
        r"npm_[A-Za-z0-9]{36}",                                                       // npm
        r"pypi-[A-Za-z0-9_-]{32,512}",                                                // PyPI
        r"do[oprt]_v1_[a-f0-9]{64}",                                                  // DigitalOcean
        r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}",                                        // Shopify
        r"LTAI[A-Za-z0-9]{12,30}",                                                    // Alibaba Cloud
        r"AKID[A-Za-z0-9]{13,40}",                                                    // Tencent Cloud
        r"eyJ[A-Za-z0-9_-]{8,2048}\.eyJ[A-Za-z0-9_-]{4,4096}\.[A-Za-z0-9_-]{0,1024}", // JSON Web Tokens
    ];
    Regex::new(&keys.join("|")).ok()
});
/// `Bearer …`, `Basic …`.
static BEARER: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?i:bearer|basic|authorization: *token) +([A-Za-z0-9._~+/=-]{16,1024})").ok());
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
    let mut found = pem(text);
    let marked = MARKED.as_ref().map(|pattern| pattern.find_iter(text)).into_iter().flatten().map(|one| one.range());
    found.extend(marked.filter(|range| is_marked_key(text, range)));
    let first_group = |pattern: &'static LazyLock<Option<Regex>>| {
        let captures = pattern.as_ref().map(|pattern| pattern.captures_iter(text)).into_iter().flatten();
        captures.filter_map(|captures| captures.get(1)).map(|value| value.range())
    };
    let value = |range: &Range<usize>| text.get(range.clone()).unwrap_or_default();
    found.extend(first_group(&BEARER).filter(|range| classes(value(range)) >= 2 && bits_a_character(value(range)) > 3.0));
    found.extend(first_group(&IN_URL));
    found.extend(first_group(&NAMED).map(|range| without_tail(text, range)).filter(|range| is_password(value(range))));
    found.sort_by_key(|range| (range.start, std::cmp::Reverse(range.end)));
    found
}

/// Whether it begins a word and is no word itself: `sk-learn-contrib-estimators` has no digit.
fn is_marked_key(text: &str, range: &Range<usize>) -> bool {
    let value = text.get(range.clone()).unwrap_or_default();
    let is_begun = !text.get(..range.start).unwrap_or_default().chars().next_back().is_some_and(is_word);
    is_begun && value.chars().any(|c| c.is_ascii_digit()) && bits_a_character(value) > 3.0
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

/// Private keys in PEM, cut off or whole.
fn pem(text: &str) -> Vec<Range<usize>> {
    const END: &str = "PRIVATE KEY-----";
    let mut found: Vec<Range<usize>> = Vec::new();
    for (start, _) in text.match_indices("-----BEGIN ") {
        let rest = text.get(start..).unwrap_or_default();
        let is_private = rest.find(END).is_some_and(|at| at < 40);
        if !is_private || found.last().is_some_and(|last| start < last.end) {
            continue;
        }
        let limit = (0..=rest.len().min(PEM_BYTES_MAX)).rev().find(|end| rest.is_char_boundary(*end)).unwrap_or(0);
        let block = rest.get(..limit).unwrap_or_default();
        let end = block.match_indices(END).nth(1).map(|(at, end)| at + end.len());
        found.push(start..start + end.unwrap_or(limit));
    }
    found
}
