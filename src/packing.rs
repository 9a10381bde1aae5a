//! The allocator's place for the pages of Lua machines; everything else goes on to the allocator below.
//!
//! Luau takes memory from its allocator in pages of 16 KiB, or 32 for its larger objects, less 24 bytes, and one
//! page at least for each size of object. Most pages of a machine hold a few objects at their end, and at their
//! start a head of 64 bytes. Where each begins with a page of the system, as they do in jemalloc, two pages of the
//! system stand behind what needs a hundred bytes. Here they lie in regions one behind the other, so that the
//! head of one lies in the system page in which the one before ends. Regions come from the system and go back there:
//! of memory that had another use before, all would stand behind them.
//!
//! # Invariants
//!
//! 1. A bit of [`Region::free`] is set where no page lies on the slot. A page of 32 KiB lies on two slots.
//! 2. The list of regions holds those that have a free slot, and no other.
//! 3. Nothing allocates while the list is locked.

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::c_void;
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

const SLOT: usize = 16 * 1024;

/// What Luau leaves at the end of a page for the allocator's own use.
const LEFT: usize = 24;

/// What stands at the start of each page of Luau's.
const HEAD: usize = 64;

const SYSTEM_PAGE: usize = 4096;

/// Where the first slot begins: its head lies in the first system page of the region, with the region's own.
const FIRST: usize = SYSTEM_PAGE - HEAD;

/// Also the alignment of regions, by which that of a slot is found.
const REGION: usize = 512 * 1024;

const SLOTS: usize = (REGION - FIRST) / SLOT;

const ALL_FREE: u32 = (1 << SLOTS) - 1;

/// How many slots a block takes up if it is a page of Luau's.
const fn slots_of(layout: Layout) -> Option<usize> {
    match layout.size() {
        _ if layout.align() > 16 => None,
        size if size == SLOT - LEFT => Some(1),
        size if size == 2 * SLOT - LEFT => Some(2),
        _ => None,
    }
}

/// Stands at the start of the region.
struct Region {
    free: u32,
    next: *mut Region,
    previous: *mut Region,
}

/// The regions with room, the one used last at the front.
struct Regions {
    first: *mut Region,
    /// Whether one of them is wholly free.
    spare: bool,
}

// SAFETY: the pointers lead to regions that belong to this list alone.
unsafe impl Send for Regions {}

/// See the module.
pub struct Packing<A> {
    below: A,
    regions: Mutex<Regions>,
}

impl<A> Packing<A> {
    pub const fn new(below: A) -> Packing<A> {
        Packing { below, regions: Mutex::new(Regions { first: ptr::null_mut(), spare: false }) }
    }

    fn regions(&self) -> MutexGuard<'_, Regions> {
        self.regions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<A> Packing<A> {
    /// A place for a page that takes up `count` slots; null if the system has no memory.
    #[cold]
    fn take(&self, count: usize) -> *mut u8 {
        let mut regions = self.regions();
        // SAFETY: the list is locked, and leads to regions that are live. What is written lies within them: a
        // run of free bits ends within the slots, since bits above are clear.
        unsafe {
            let mut region = regions.first;
            while !region.is_null() && run_of((*region).free, count).is_none() {
                region = (*region).next;
            }
            if region.is_null() {
                let Some(mapped) = map() else { return ptr::null_mut() };
                region = mapped.cast::<Region>();
                region.write(Region { free: ALL_FREE, next: ptr::null_mut(), previous: ptr::null_mut() });
                regions.put_first(region);
            } else if (*region).free == ALL_FREE {
                regions.spare = false;
            }
            let at = run_of((*region).free, count).unwrap_or_default();
            (*region).free &= !bits(at, count);
            if (*region).free == 0 {
                regions.remove(region);
            }
            region.cast::<u8>().add(FIRST + at * SLOT)
        }
    }

    /// Gives the place of a page back.
    ///
    /// # Safety
    ///
    /// It came from [`take`](Packing::take) with this `count`, and nobody uses it.
    #[cold]
    unsafe fn give_back(&self, page: *mut u8, count: usize) {
        // The system pages that belong to the slots alone; nobody may want them for long.
        // SAFETY: they lie within the slots, which are still the caller's.
        unsafe { libc::madvise(page.add(HEAD).cast(), count * SLOT - SYSTEM_PAGE, libc::MADV_DONTNEED) };
        let mut regions = self.regions();
        // SAFETY: the page lies in a region of ours, which begins at a multiple of its size and is live as long as
        // one of its slots is taken; pages are made from pointers to their region.
        unsafe {
            let region = page.map_addr(|at| at & !(REGION - 1)).cast::<Region>();
            let at = (page.addr() - region.addr() - FIRST) / SLOT;
            let was_full = (*region).free == 0;
            (*region).free |= bits(at, count);
            if was_full {
                regions.put_first(region);
            }
            if (*region).free == ALL_FREE {
                // One is kept, lest a machine that comes and goes takes and gives back a region each time.
                if regions.spare {
                    regions.remove(region);
                    libc::munmap(region.cast(), REGION);
                }
                regions.spare = true;
            }
        }
    }
}

impl Regions {
    /// # Safety
    ///
    /// The region is live, and not in the list.
    unsafe fn put_first(&mut self, region: *mut Region) {
        // SAFETY: as the caller promises; so is the first of the list.
        unsafe {
            (*region).previous = ptr::null_mut();
            (*region).next = self.first;
            if let Some(first) = self.first.as_mut() {
                first.previous = region;
            }
        }
        self.first = region;
    }

    /// # Safety
    ///
    /// The region is live, and in the list.
    unsafe fn remove(&mut self, region: *mut Region) {
        // SAFETY: as the caller promises; so are its neighbours.
        unsafe {
            match (*region).previous.as_mut() {
                Some(previous) => previous.next = (*region).next,
                None => self.first = (*region).next,
            }
            if let Some(next) = (*region).next.as_mut() {
                next.previous = (*region).previous;
            }
        }
    }
}

/// Memory for a region.
fn map() -> Option<*mut c_void> {
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: the system chooses where, so that nothing is mapped over. Twice the size holds a region at a multiple of
    // its size; what lies before and behind it, which nobody knows of, is given back at once.
    unsafe {
        let start = libc::mmap(ptr::null_mut(), 2 * REGION, access, kind, -1, 0);
        if start == libc::MAP_FAILED {
            return None;
        }
        let region = start.map_addr(|at| at.next_multiple_of(REGION));
        let before = region.addr() - start.addr();
        if before > 0 {
            libc::munmap(start, before);
        }
        libc::munmap(region.byte_add(REGION), REGION - before);
        Some(region)
    }
}

fn bits(at: usize, count: usize) -> u32 {
    ((1 << count) - 1) << at
}

/// Where `count` set bits follow each other.
fn run_of(free: u32, count: usize) -> Option<usize> {
    let runs = (1..count).fold(free, |runs, step| runs & (free >> step));
    (runs != 0).then(|| runs.trailing_zeros() as usize)
}

// SAFETY: pages lie on slots that nothing else lies on, which are as long and aligned to 64 bytes; for everything else
// the allocator below keeps the promises.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Packing<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match slots_of(layout) {
            Some(count) => self.take(count),
            // SAFETY: as the caller promises.
            None => unsafe { self.below.alloc(layout) },
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises; the layout says from whom it came.
        unsafe {
            match slots_of(layout) {
                Some(count) => self.give_back(block, count),
                None => self.below.dealloc(block, layout),
            }
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises; a place is as long as the layout.
        unsafe {
            match slots_of(layout) {
                Some(count) => {
                    let block = self.take(count);
                    if !block.is_null() {
                        block.write_bytes(0, layout.size());
                    }
                    block
                }
                None => self.below.alloc_zeroed(layout),
            }
        }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as the caller promises; the layouts say from whom the blocks came and come.
        unsafe {
            let new = Layout::from_size_align_unchecked(size, layout.align());
            if slots_of(layout).is_none() && slots_of(new).is_none() {
                return self.below.realloc(block, layout, size);
            }
            let moved = self.alloc(new);
            if !moved.is_null() {
                ptr::copy_nonoverlapping(block, moved, layout.size().min(size));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}

#[cfg(test)]
mod tests {
    use std::alloc::System;
    use std::ops::Deref;
    use std::thread;

    use super::*;

    const SMALL: Layout = match Layout::from_size_align(SLOT - LEFT, 16) {
        Ok(layout) => layout,
        Err(_) => panic!(),
    };
    const LARGE: Layout = match Layout::from_size_align(2 * SLOT - LEFT, 16) {
        Ok(layout) => layout,
        Err(_) => panic!(),
    };

    /// One that ends, as the program's never does.
    struct Local(Packing<System>);

    impl Deref for Local {
        type Target = Packing<System>;

        fn deref(&self) -> &Packing<System> {
            &self.0
        }
    }

    impl Drop for Local {
        fn drop(&mut self) {
            let mut region = self.0.regions().first;
            while !region.is_null() {
                // SAFETY: the list leads to live regions, and nobody uses their slots any more.
                unsafe {
                    let next = (*region).next;
                    assert!((*region).free == ALL_FREE || thread::panicking());
                    libc::munmap(region.cast(), REGION);
                    region = next;
                }
            }
        }
    }

    fn packing() -> Local {
        Local(Packing::new(System))
    }

    /// How many regions are there, when no page is.
    fn regions(packing: &Packing<System>) -> usize {
        let list = packing.regions();
        // SAFETY: the list is locked and leads to live regions.
        let next = |region: &*mut Region| unsafe { Some((**region).next).filter(|next| !next.is_null()) };
        std::iter::successors(Some(list.first).filter(|first| !first.is_null()), next).count()
    }

    #[test]
    fn a_page_shares_the_system_page_of_its_head_with_the_end_of_the_one_before() {
        let packing = packing();
        // SAFETY: the layouts are not empty, and each block is given back once, as it was taken.
        unsafe {
            let pages: Vec<_> = (0..SLOTS).map(|_| packing.alloc(SMALL)).collect();
            for two in pages.windows(2) {
                let end = two[0].addr() + SMALL.size() - 1;
                assert!(end < two[1].addr());
                assert_eq!(end / SYSTEM_PAGE, two[1].addr() / SYSTEM_PAGE);
                assert_eq!(two[1].addr() / SYSTEM_PAGE, (two[1].addr() + HEAD - 1) / SYSTEM_PAGE);
            }
            pages.into_iter().for_each(|page| packing.dealloc(page, SMALL));
        }
    }

    #[test]
    fn pages_never_overlap_and_come_back() {
        let packing = packing();
        let mut random = 88172645463325252_u64;
        let mut next = |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random as usize % below
        };
        let mut held: Vec<(*mut u8, Layout, u8)> = Vec::new();
        for turn in 0..20_000 {
            // SAFETY: the layouts are not empty; what is written and read lies in blocks that are held, and each is
            // given back once, as it was taken.
            unsafe {
                if held.len() < 100 && next(5) > 1 {
                    let layout = [SMALL, SMALL, LARGE][next(3)];
                    let (page, mark) = (packing.alloc(layout), turn as u8);
                    for at in [0, layout.size() / 2, layout.size() - 1] {
                        page.add(at).write(mark);
                    }
                    held.push((page, layout, mark));
                } else if !held.is_empty() {
                    let (page, layout, mark) = held.swap_remove(next(held.len()));
                    for at in [0, layout.size() / 2, layout.size() - 1] {
                        assert_eq!(page.add(at).read(), mark);
                    }
                    packing.dealloc(page, layout);
                }
            }
        }
        // SAFETY: as above.
        held.into_iter().for_each(|(page, layout, _)| unsafe { packing.dealloc(page, layout) });
        assert_eq!(regions(&packing), 1, "all regions but one went back");
    }

    #[test]
    fn pages_that_change_their_size_keep_what_they_hold() {
        let packing = packing();
        let sizes = [100, SMALL.size(), 5000, LARGE.size(), SMALL.size(), 70_000, LARGE.size(), 16];
        // SAFETY: no size is 0; the block is always the last one, and read within its size.
        unsafe {
            let mut layout = Layout::from_size_align(1, 16).unwrap();
            let mut block = packing.alloc_zeroed(layout);
            block.write(7);
            for size in sizes {
                block = packing.realloc(block, layout, size);
                layout = Layout::from_size_align(size, 16).unwrap();
                assert_eq!(block.read(), 7);
            }
            packing.dealloc(block, layout);
            let zeroed = packing.alloc_zeroed(LARGE);
            assert_eq!(zeroed.add(LARGE.size() - 1).read(), 0);
            packing.dealloc(zeroed, LARGE);
        }
    }

    #[test]
    fn threads_take_and_give_back_pages_of_each_other() {
        struct Page(*mut u8);
        // SAFETY: a block may be used by whoever holds it.
        unsafe impl Send for Page {}
        let packing = packing();
        thread::scope(|scope| {
            for _ in 0..4 {
                let (sender, receiver) = std::sync::mpsc::channel();
                let packing: &Packing<System> = &packing;
                scope.spawn(move || {
                    for _ in 0..2_000 {
                        // SAFETY: the layout is not empty.
                        sender.send(Page(unsafe { packing.alloc(SMALL) })).unwrap();
                    }
                });
                scope.spawn(move || {
                    for page in receiver {
                        // SAFETY: the block was taken with this layout, and is given back once.
                        unsafe { packing.dealloc(page.0, SMALL) }
                    }
                });
            }
        });
        assert_eq!(regions(&packing), 1);
    }
}
