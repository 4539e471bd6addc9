//! Where large tables lie in memory.

/// Smaller allocations gain nothing.
#[cfg(target_os = "linux")]
const HUGE_PAGE: usize = 2 << 20;

/// Asks the kernel to back this allocation by huge pages, best before it is written to: tables that are read all
/// over need an entry of the processor's address cache for each page. Nothing happens where they are not to be had.
#[cfg_attr(target_os = "linux", expect(unsafe_code, reason = "the advice takes a raw range"))]
pub(super) fn prefer_huge_pages<T>(table: &Vec<T>) {
    #[cfg(target_os = "linux")]
    {
        let start = table.as_ptr().addr().next_multiple_of(HUGE_PAGE);
        let end = table.as_ptr().addr() + table.capacity() * size_of::<T>();
        if start + HUGE_PAGE <= end {
            let range = table.as_ptr().with_addr(start).cast_mut().cast();
            // SAFETY: the range lies within the allocation; this advice changes no contents.
            let _ = unsafe { rustix::mm::madvise(range, end - start, rustix::mm::Advice::LinuxHugepage) };
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = table;
}
