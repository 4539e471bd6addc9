//! A short run of `examples/power_cuts.rs`, where it says what is built and what must hold.

#[path = "../examples/power_cuts.rs"]
mod power_cuts;

#[test]
fn what_was_durable_survives_a_power_cut() {
    let kept = power_cuts::run(30, 7).unwrap();
    assert!(kept < 30, "no state lost the last commit: are there any torn blocks?");
}
