//! The links of a graph: a fixed number of slots for each place, in one stretch of memory.

use super::super::kernel::{self, Block};
use super::super::memory::prefer_huge_pages;

/// An empty slot; all behind it are empty too.
const NONE: u32 = u32::MAX;
/// Slots in a block.
const SLOTS: usize = size_of::<Block>() / size_of::<u32>();

/// Links by place. Rows start at cache lines.
#[derive(Debug, Clone)]
pub(super) struct Links {
    /// Links of a place at most.
    degree: usize,
    /// Blocks of a place.
    blocks: usize,
    slots: Vec<Block>,
}

impl Links {
    /// No links between `places` places, which may have `degree` each.
    pub(super) fn new(places: usize, degree: usize) -> Self {
        let blocks = degree.div_ceil(SLOTS);
        let mut slots = Vec::with_capacity(places * blocks);
        prefer_huge_pages(&slots);
        slots.resize(places * blocks, Block([u8::MAX; 64]));
        Self { degree, blocks, slots }
    }

    /// Of the slots that [`Self::slots`] gave; `None` unless they are links between `places` places.
    pub(super) fn of_slots(places: usize, degree: usize, slots: Vec<Block>) -> Option<Self> {
        let links = Self { degree, blocks: degree.div_ceil(SLOTS), slots };
        let all: &[u32] = bytemuck::cast_slice(&links.slots);
        let is_whole =
            links.slots.len() == Self::slot_blocks(places, degree) && all.iter().all(|link| *link == NONE || (*link as usize) < places);
        is_whole.then_some(links)
    }

    /// All slots, of one place after the other.
    pub(super) fn slots(&self) -> &[Block] {
        &self.slots
    }

    /// Blocks that the links of so many places take.
    pub(super) fn slot_blocks(places: usize, degree: usize) -> usize {
        places * degree.div_ceil(SLOTS)
    }

    pub(super) fn degree(&self) -> usize {
        self.degree
    }

    pub(super) fn places(&self) -> usize {
        self.slots.len() / self.blocks.max(1)
    }

    /// Bytes allocated.
    pub(super) fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Block>()
    }

    /// Where the links of a place lead.
    #[inline]
    pub(super) fn of(&self, place: u32) -> &[u32] {
        let slots = self.slots_of(place);
        let end = slots.iter().position(|link| *link == NONE).unwrap_or(slots.len());
        slots.get(..end).unwrap_or_default()
    }

    /// Sets the links of a place; those beyond the degree are left out.
    pub(super) fn set(&mut self, place: u32, links: &[u32]) {
        let start = place as usize * self.blocks;
        let blocks = self.slots.get_mut(start..start + self.blocks).unwrap_or_default();
        write(blocks, links.get(..links.len().min(self.degree)).unwrap_or_default());
    }

    /// Asks for the links of a place, to be read soon.
    #[inline]
    pub(super) fn prefetch(&self, place: u32) {
        kernel::prefetch(self.slots_of(place));
    }

    #[inline]
    fn slots_of(&self, place: u32) -> &[u32] {
        let start = place as usize * self.blocks;
        bytemuck::cast_slice(self.slots.get(start..start + self.blocks).unwrap_or_default())
    }
}

fn write(blocks: &mut [Block], links: &[u32]) {
    let slots: &mut [u32] = bytemuck::cast_slice_mut(blocks);
    slots.fill(NONE);
    slots.iter_mut().zip(links).for_each(|(slot, link)| *slot = *link);
}
