//! Cuts a text to a number of tokens.

/// What stays of a text that is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Its beginning.
    Head,
    /// Its end.
    Tail,
}

/// As much of `text` as has at most `tokens` tokens, as `count` counts them, cut between characters.
#[must_use]
pub fn truncate(text: &str, tokens: u64, keep: Keep, count: impl Fn(&str) -> u64) -> &str {
    let kept = |bytes: usize| match keep {
        Keep::Head => text.get(..text.floor_char_boundary(bytes)),
        Keep::Tail => text.get(text.ceil_char_boundary(text.len().saturating_sub(bytes))..),
    };
    let fits = |bytes: usize| kept(bytes).is_some_and(|part| count(part) <= tokens);
    if fits(text.len()) {
        return text;
    }
    // Grows until it doesn't fit, so that the time depends on what is kept, not on what is cut off.
    let (mut fitting, mut step) = (0, 64);
    while fitting + step < text.len() && fits(fitting + step) {
        fitting += step;
        step *= 2;
    }
    let mut too_much = (fitting + step).min(text.len());
    while fitting + 1 < too_much {
        let middle = fitting.midpoint(too_much);
        if fits(middle) {
            fitting = middle;
        } else {
            too_much = middle;
        }
    }
    kept(fitting).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::counter_for;
    use proptest::prelude::*;

    #[test]
    fn head_or_tail_stay_and_characters_stay_whole() {
        let counter = counter_for("gpt-4o");
        let truncate = |text: &'static str, tokens, keep| super::truncate(text, tokens, keep, |part| counter.count(part));
        let text = "one two three four five six seven eight nine ten";
        assert_eq!(truncate(text, 3, Keep::Head), "one two three");
        assert_eq!(truncate(text, 3, Keep::Tail), " eight nine ten");
        assert_eq!(truncate(text, 100, Keep::Tail), text);
        assert_eq!(truncate(text, 0, Keep::Head), "");
        assert_eq!(truncate("👩‍🚀👩‍🚀👩‍🚀", 1, Keep::Head).len() % 4, 0, "no half of a picture's first sign");
    }

    proptest! {
        #[test]
        fn what_is_kept_fits_and_is_a_part(text in "\\PC{0,300}", tokens in 0u64..40) {
            let counter = counter_for("gpt-4");
            let truncate = |keep| super::truncate(&text, tokens, keep, |part| counter.count(part));
            let (head, tail) = (truncate(Keep::Head), truncate(Keep::Tail));
            prop_assert!(text.starts_with(head) && text.ends_with(tail));
            prop_assert!(counter.count(head) <= tokens && counter.count(tail) <= tokens);
        }
    }
}
