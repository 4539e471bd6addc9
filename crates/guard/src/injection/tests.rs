//! Rules fire on what they are for, in each disguise, and not on what people ask.

use super::*;

#[test]
fn every_pattern_is_one() {
    set().unwrap();
    assert!(PATTERNS.iter().all(Option::is_some));
}

#[test]
fn speed() {
    let text = "The lamp of the lighthouse burns for twelve hours. It is filled with colza oil every evening, call 555. ".repeat(20);
    assess(&text, Origin::Source);
    for _ in 0..3 {
        let started = std::time::Instant::now();
        for _ in 0..10 { assess(&text, Origin::Source); }
        eprintln!("assess {} bytes {:?}", text.len(), started.elapsed() / 10);
        let started = std::time::Instant::now();
        for _ in 0..10 { for p in PATTERNS.iter().flatten() { p.is_match(&text); } }
        eprintln!("each {:?}", started.elapsed() / 10);
        let started = std::time::Instant::now();
        for _ in 0..10 { crate::find(&text, crate::Kinds::ALL); }
        eprintln!("find {:?}", started.elapsed() / 10);
    }
}
