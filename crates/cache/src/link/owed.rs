//! Removals that Redis missed while it was away, in memory and in a file.
//!
//! The file has one pattern a line. It is written anew with each change and synced before a removal counts as owed, and
//! gone when nothing is owed. A line that could mean other keys than ours is not heeded.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

/// More than these become one removal of everything that is cached.
const OWED_MAX: usize = 1000;

/// Patterns of keys that must be gone before Redis is asked again.
#[derive(Debug, Default)]
pub(super) struct Owed(Vec<String>);

impl Owed {
    /// What is owed by the file. `everything` matches all that is cached: it is owed if the file can't be read.
    pub(super) fn read(file: &Path, everything: &str) -> Self {
        let text = match fs::read(file) {
            Ok(text) => String::from_utf8_lossy(&text).into_owned(),
            Err(error) if error.kind() == ErrorKind::NotFound => return Self::default(),
            Err(error) => {
                tracing::warn!(file = %file.display(), %error, "removals that redis missed can't be read: all that is cached there is removed");
                everything.to_owned()
            }
        };
        let ours = everything.trim_end_matches('*');
        Self(text.lines().filter(|line| line.starts_with(ours) && line.ends_with('*')).map(str::to_owned).collect())
    }

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

/// Puts the patterns in the file, in place of what it held; durable on return.
pub(super) fn write(file: &Path, patterns: &[String]) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    if patterns.is_empty() {
        return match fs::remove_file(file) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    let unfinished = file.with_extension("tmp");
    let mut new = File::create(&unfinished)?;
    new.write_all((patterns.join("\n") + "\n").as_bytes())?;
    new.sync_all()?;
    fs::rename(&unfinished, file)?;
    File::open(folder)?.sync_all()
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
    fn what_is_owed_is_read_again_and_nothing_but_that() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("owed");
        let patterns = || Owed::read(&file, "ours:cache:*").0;
        assert_eq!(patterns(), Vec::<String>::new());
        write(&file, &["ours:cache:a/*".to_owned(), "ours:cache:b/*".to_owned()]).unwrap();
        assert_eq!(patterns(), ["ours:cache:a/*", "ours:cache:b/*"]);
        fs::write(&file, "*\nours:*\nothers:cache:a/*\nours:cache:c/*\nours:cache:half a li").unwrap();
        assert_eq!(patterns(), ["ours:cache:c/*"]);
        write(&file, &[]).unwrap();
        write(&file, &[]).unwrap();
        assert!(!file.exists());
        fs::create_dir(&file).unwrap();
        assert_eq!(patterns(), ["ours:cache:*"], "what can't be read may be anything");
    }

    #[test]
    fn signs_of_patterns_are_escaped() {
        assert_eq!(escaped(r"a*b?[c]^\"), r"a\*b\?\[c\]\^\\");
    }
}
