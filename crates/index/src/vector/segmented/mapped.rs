//! Numbers of a file that are read where they lie.
//! The only place of the vector index with `unsafe` for a mapping.

use memmap2::{Mmap, MmapOptions};
use std::fs::File;
use std::io;
use std::ops::Deref;

/// 32-bit floats of a file that nobody changes.
#[derive(Debug)]
pub(super) struct Mapped(Mmap);

impl Mapped {
    /// `offset` must be a multiple of the page's size, `bytes` of 4.
    #[expect(unsafe_code, reason = "a mapping is only as good as its file")]
    pub(super) fn new(file: &File, offset: u64, bytes: u64) -> io::Result<Self> {
        let length = usize::try_from(bytes).map_err(io::Error::other)?;
        // SAFETY: segment files are written once under another name, and only ever unlinked after that. Somebody
        // else who cuts one off while the server runs ends the server (SIGBUS), as with any mapped file.
        let map = unsafe { MmapOptions::new().offset(offset).len(length).map(file)? };
        Ok(Self(map))
    }
}

impl Deref for Mapped {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        // A mapping starts at a page, so it is aligned.
        bytemuck::try_cast_slice(&self.0).unwrap_or_default()
    }
}
