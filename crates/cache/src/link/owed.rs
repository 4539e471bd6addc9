//! Removals that Redis missed while it was away.

/// More than these become one removal of everything.
const OWED_MAX: usize = 1000;

/// Patterns of keys that must be gone before Redis is asked again.
#[derive(Debug, Default)]
pub(super) struct Owed(Vec<String>);

impl Owed {
    pub(super) fn patterns(&self) -> &[String] {
        &self.0
    }

    pub(super) fn add(&mut self, pattern: String, everything: String) {
        if self.0.contains(&pattern) || self.0.contains(&everything) {
            return;
        }
        if self.0.len() >= OWED_MAX {
            self.0 = vec![everything];
        } else {
            self.0.push(pattern);
        }
    }

    /// Crosses out what was done; whether nothing is left.
    pub(super) fn settle(&mut self, done: &[String]) -> bool {
        self.0.retain(|pattern| !done.contains(pattern));
        self.0.is_empty()
    }
}

/// A text as a pattern that only matches itself.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '^' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_meanwhile_is_still_owed() {
        let mut owed = Owed::default();
        owed.add("a*".to_owned(), "*".to_owned());
        let done = owed.patterns().to_vec();
        owed.add("b*".to_owned(), "*".to_owned());
        assert!(!owed.settle(&done));
        assert_eq!(owed.patterns(), ["b*"]);
        assert!(owed.settle(&["b*".to_owned()]));
    }

    #[test]
    fn too_many_become_one() {
        let mut owed = Owed::default();
        (0..=OWED_MAX + 5).for_each(|n| owed.add(format!("{n}*"), "*".to_owned()));
        assert_eq!(owed.patterns(), ["*"]);
    }

    #[test]
    fn signs_of_patterns_are_escaped() {
        assert_eq!(escaped(r"a*b?[c]^\"), r"a\*b\?\[c\]\^\\");
    }
}
