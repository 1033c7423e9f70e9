//! How many connections there may be: in total, and from one address, so that no sender takes them all.
//!
//! An IPv6 network of 64 bits counts as one address: it is the least that anybody is given, and who has it can connect
//! from any address in it. An IPv4 address is the same one when it comes in through an IPv6 socket.

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

/// Open connections of all loops. Locked when a connection comes or goes, never for a request.
pub struct Admission {
    total_max: usize,
    address_max: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    by_address: HashMap<IpAddr, usize, RandomState>,
}

/// Why a connection is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// `max_connections` are open.
    Total,
    /// `max_connections_per_address` are open from there.
    Address,
}

impl Admission {
    /// At most `total_max` connections, and `address_max` from one address.
    pub fn new(total_max: usize, address_max: usize) -> Admission {
        Admission {
            total_max,
            address_max,
            open: Mutex::default(),
        }
    }

    pub(super) fn admit(&self, address: IpAddr) -> Result<(), Refused> {
        let mut open = self.open.lock();
        if open.total >= self.total_max {
            return Err(Refused::Total);
        }
        let from_there = open.by_address.entry(source(address)).or_default();
        if *from_there >= self.address_max {
            return Err(Refused::Address);
        }
        *from_there += 1;
        open.total += 1;
        Ok(())
    }

    pub(super) fn leave(&self, address: IpAddr) {
        let (mut open, address) = (self.open.lock(), source(address));
        open.total -= 1;
        if let Some(from_there) = open.by_address.get_mut(&address) {
            *from_there -= 1;
            if *from_there == 0 {
                open.by_address.remove(&address);
            }
        }
    }
}

/// What counts as one address; see the module.
fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & NETWORK).into(),
        address @ IpAddr::V4(_) => address,
    }
}

/// The part of an IPv6 address that names the network.
const NETWORK: u128 = u128::MAX << 64;

#[cfg(test)]
mod tests {
    use super::{Admission, Refused, source};
    use std::net::{IpAddr, Ipv4Addr};

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let one = |address: &str| source(address.parse().expect("an address"));
        assert_eq!(
            one("2001:db8:1:2::1"),
            one("2001:db8:1:2:ffff:ffff:ffff:ffff")
        );
        assert_ne!(one("2001:db8:1:2::1"), one("2001:db8:1:3::1"));
        assert_eq!(one("::ffff:192.0.2.1"), one("192.0.2.1"));
        assert_ne!(one("::ffff:192.0.2.1"), one("::ffff:192.0.2.2"));
    }

    #[test]
    fn counts_by_address_and_in_total() {
        let (here, there) = (
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)),
        );
        let admission = Admission::new(3, 2);
        assert_eq!(admission.admit(here), Ok(()));
        assert_eq!(admission.admit(here), Ok(()));
        assert_eq!(admission.admit(here), Err(Refused::Address));
        assert_eq!(admission.admit(there), Ok(()));
        assert_eq!(admission.admit(there), Err(Refused::Total));
        admission.leave(here);
        assert_eq!(admission.admit(there), Ok(()));
        admission.leave(here);
        assert_eq!(admission.open.lock().by_address.len(), 1);
    }
}
