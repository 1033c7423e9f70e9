//! Memory of large bodies: it is kept for the next large one, and goes back to the system when there is none.

/// Gives what will be large pages of its own, which go back to the system as soon as it is freed. What the allocator
/// takes from its heaps stays in them when it is freed, for each thread tens of megabytes, and from some size on, up to
/// 32 MiB, it takes that from there which has been that large before. Addresses cost nothing that are not written to.
pub(super) fn own_pages<T>(room: &mut Vec<T>) {
    let wanted = OWN_PAGES / size_of::<T>();
    if room.capacity() < wanted {
        room.reserve_exact(wanted - room.len());
    }
}

/// Bytes that every allocator takes from the system.
pub(super) const OWN_PAGES: usize = 33 << 20;

/// Bytes from which on a body, or what is taken apart at once, is large: ten times more than a batch of ordinary ones.
pub const LARGE: usize = 256 << 10;

/// What was used so often since the last large body is not kept for another one. To take new pages from the system for
/// one costs a third of what it takes to take it apart, and so nothing beside so many others.
pub const LARGE_KEPT: u32 = 1000;
