//! What speeds are compared with: the arithmetic that a model needs, and what the processor can do at most.

use crate::kernel;
use crate::shape::Shape;
use std::time::{Duration, Instant};

/// How long the multipliers are watched.
const WATCHED: Duration = Duration::from_millis(300);

impl Shape {
    /// Multiplications and additions of one text of `tokens`: dense layers and both products of attention.
    pub(crate) fn operations(&self, tokens: usize) -> u64 {
        let dense = 4 * self.hidden * self.hidden + 2 * self.hidden * self.intermediate;
        let attention = 2 * self.hidden * tokens;
        2 * (self.layers * tokens * (dense + attention)) as u64
    }
}

/// Billions of 8-bit multiplications and additions a second that `threads` threads reach with sums in registers,
/// by one of [`crate::instructions`], or the fastest. 0 if the processor doesn't have them.
#[must_use]
pub fn int8_peak_gops(threads: usize, instructions: Option<&str>) -> f64 {
    let Some(kernels) = instructions.map_or_else(|| Some(kernel::best()), kernel::named) else { return 0.0 };
    let watch = || {
        kernels.peak(100_000);
        let (began, mut operations) = (Instant::now(), 0);
        while began.elapsed() < WATCHED {
            operations += kernels.peak(100_000);
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let rate = operations as f64 / began.elapsed().as_secs_f64() / 1e9;
        rate
    };
    std::thread::scope(|scope| {
        let watching: Vec<_> = (0..threads).map(|_| scope.spawn(watch)).collect();
        watching.into_iter().filter_map(|one| one.join().ok()).sum()
    })
}
