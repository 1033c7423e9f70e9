//! Memory that goes back to the system once it is not needed.

/// Gives what will be large pages of its own, which go back to the system as soon as it is freed. What the allocator
/// takes from its heaps stays in them when it is freed, for each thread tens of megabytes, and from some size on, up to
/// 32 MiB, it takes that from there which has been that large before. Addresses cost nothing that are not written to.
pub(super) fn own_pages<T>(room: &mut Vec<T>) {
    let wanted = OWN_PAGES / size_of::<T>();
    if room.capacity() < wanted {
        room.reserve_exact(wanted - room.len());
    }
}

/// Octets that every allocator takes from the system.
pub(super) const OWN_PAGES: usize = 33 << 20;
