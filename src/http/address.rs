//! Clients by their address: what counts as one, and how many connections each has.
//!
//! Counted only where a limit asks for it, when a connection comes and when it goes.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// What counts as one address: a host has a whole /64 of IPv6 to itself.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

/// How many connections each address has open, over all workers.
#[derive(Debug)]
pub struct Addresses {
    max: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection among those of its address, until it is dropped.
pub struct Place {
    addresses: Arc<Addresses>,
    address: IpAddr,
}

impl Addresses {
    /// Of at most `max` connections each.
    pub fn new(max: usize) -> Addresses {
        Addresses { max, open: Mutex::default() }
    }

    /// The most connections that an address may have.
    pub fn max(&self) -> usize {
        self.max
    }

    /// Counts one more connection from `peer`; none if it has as many as it may.
    pub fn enter(self: &Arc<Addresses>, peer: IpAddr) -> Option<Place> {
        let address = network(peer);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_default();
        if *count >= self.max {
            return None;
        }
        *count += 1;
        Some(Place { addresses: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.addresses.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_host_is_one_address() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:1.2.3.4"), of("1.2.3.4"));
        assert_ne!(of("1.2.3.4"), of("1.2.3.5"));
    }

    #[test]
    fn a_place_is_given_back() {
        let addresses = Arc::new(Addresses::new(2));
        let (one, two) = (IpAddr::from([1, 1, 1, 1]), IpAddr::from([2, 2, 2, 2]));
        let first = addresses.enter(one);
        let _second = addresses.enter(one).unwrap();
        assert!(addresses.enter(one).is_none() && addresses.enter(two).is_some());
        drop(first);
        assert!(addresses.enter(one).is_some());
        assert_eq!(addresses.open.lock().unwrap().len(), 1);
    }
}
