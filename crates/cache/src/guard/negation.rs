//! The words that deny: not, no, never, without, n't; 不, 没, 无, 非, 未, 别 where they deny.

use super::text::{Kind, Text, Token};

const WORDS: &[&str] = &[
    "not",
    "no",
    "never",
    "without",
    "none",
    "neither",
    "nor",
    "nothing",
    "nobody",
    "nowhere",
    "cannot",
    "unable",
    "impossible",
    "except",
    "exclude",
    "excludes",
    "excluded",
    "excluding",
    "lack",
    "lacks",
    "lacking",
    "dont",
    "doesnt",
    "didnt",
    "isnt",
    "cant",
    "wont",
    "arent",
    "hardly",
];
const SIGNS: &[char] = &['不', '没', '无', '非', '未', '别'];
/// Words with one of these characters that deny nothing.
const NO_NEGATIONS: &[&str] = &[
    "不同",
    "不错",
    "不过",
    "不仅",
    "不但",
    "不断",
    "不久",
    "不论",
    "不管",
    "差不多",
    "对不起",
    "不动产",
    "无线",
    "无人机",
    "无论",
    "非常",
    "非洲",
    "未来",
    "别人",
    "分别",
    "级别",
    "特别",
    "区别",
    "性别",
    "类别",
    "识别",
    "个别",
    "鉴别",
    "告别",
];

/// The negations, in their order.
pub(super) fn negations(text: &Text) -> Vec<String> {
    let mut found = Vec::new();
    for (at, token) in text.tokens.iter().enumerate() {
        match token.kind {
            Kind::Word if denies(token, text.tokens.get(at + 1)) => found.push(token.lower.clone()),
            Kind::Han => found.extend(signs(&token.text)),
            _ => {}
        }
    }
    found
}

fn denies(token: &Token, next: Option<&Token>) -> bool {
    // "No. 5" is a number.
    let is_numbering = token.lower == "no" && next.is_some_and(|next| next.text.starts_with(|c: char| c.is_ascii_digit()));
    let word = token.lower.as_str();
    !is_numbering && (WORDS.contains(&word) || word.ends_with("n't") || word == "non" || word.starts_with("non-"))
}

fn signs(run: &str) -> Vec<String> {
    let chars: Vec<char> = run.chars().collect();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let rest: String = chars.iter().skip(at).collect();
        let word = NO_NEGATIONS.iter().find(|word| rest.starts_with(**word));
        if SIGNS.contains(&c) && word.is_none() && !is_choice(&chars, at) {
            found.push(c.to_string());
        }
        at += word.map_or(1, |word| word.chars().count());
    }
    found
}

/// 能不能, 是不是, 有没有: asks, and doesn't deny.
fn is_choice(chars: &[char], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|at| chars.get(at));
    before.is_some() && before == chars.get(at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(question: &str) -> usize {
        negations(&Text::of(question)).len()
    }

    #[test]
    fn what_denies_is_counted() {
        for text in [
            "not covered",
            "isn’t covered",
            "can't",
            "without a key",
            "none of them",
            "non-magnetic",
            "不可以",
            "没有发票",
            "未通过",
            "无密钥",
            "收不到",
        ] {
            assert_eq!(count(text), 1, "{text}");
        }
        assert_eq!(count("Why can't I log in without a key?"), 2);
    }

    #[test]
    fn what_only_looks_like_it_is_not() {
        for text in ["No. 5", "note", "能不能退款", "有没有权限", "可不可以", "非常好", "特别", "区别是什么", "未来", "无线网络"]
        {
            assert_eq!(count(text), 0, "{text}");
        }
    }
}
