//! Sets of internet addresses: `gate.cidr`.

use std::net::IpAddr;

/// Ranges of addresses, sorted, apart from each other. IPv4 is kept as the IPv6 addresses that stand for it
/// (RFC 4291, 2.5.5.2), so an address counts alike in both forms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cidr(Vec<(u128, u128)>);

/// Bits before an IPv4 address in its IPv6 form.
const V4_LEAD: u32 = 96;

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

/// The first and the last address of `10.0.0.0/8` or of a single address.
fn range(text: &str) -> Option<(u128, u128)> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
            (address, Some(bits.parse::<u32>().ok()?))
        }
        Some(_) => return None,
        None => (text, None),
    };
    let ip: IpAddr = address.parse().ok()?;
    let (lead, width) = if ip.is_ipv4() { (V4_LEAD, 32) } else { (0, 128) };
    let bits = lead + bits.filter(|bits| *bits <= width).or(bits.is_none().then_some(width))?;
    let rest = u128::MAX.checked_shr(bits).unwrap_or(0);
    let first = number(ip) & !rest;
    Some((first, first | rest))
}

impl Cidr {
    /// # Errors
    ///
    /// The first text that is neither an address nor a network.
    pub fn new<'t>(texts: impl IntoIterator<Item = &'t str>) -> Result<Cidr, &'t str> {
        let mut ranges = Vec::new();
        for text in texts {
            ranges.push(range(text).ok_or(text)?);
        }
        ranges.sort_unstable();
        let mut joined: Vec<(u128, u128)> = Vec::new();
        for (first, last) in ranges {
            match joined.last_mut() {
                Some(before) if first <= before.1 => before.1 = before.1.max(last),
                _ => joined.push((first, last)),
            }
        }
        Ok(Cidr(joined))
    }

    /// Whether `ip` is in the set; what is no address is in none.
    pub fn has(&self, ip: &str) -> bool {
        let Ok(ip) = ip.parse::<IpAddr>() else { return false };
        let ip = number(ip);
        let after = self.0.partition_point(|range| range.0 <= ip);
        after > 0 && ip <= self.0[after - 1].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lie_in_networks() {
        let set =
            Cidr::new(["10.1.2.3/8", "192.168.0.0/16", "192.168.7.0/24", "2001:db8::/32", "::1", "1.2.3.4"]);
        let set = set.unwrap();
        for ip in [
            "10.0.0.0",
            "10.255.255.255",
            "192.168.255.1",
            "2001:db8:1::",
            "::1",
            "1.2.3.4",
            "::ffff:10.0.0.1",
        ] {
            assert!(set.has(ip), "{ip}");
        }
        for ip in [
            "9.255.255.255",
            "11.0.0.0",
            "192.169.0.0",
            "2001:db9::",
            "::2",
            "1.2.3.5",
            "",
            "10",
            "10.0.0.0/8",
        ] {
            assert!(!set.has(ip), "{ip}");
        }
        let all = Cidr::new(["0.0.0.0/0"]).unwrap();
        assert!(all.has("255.1.1.1") && !all.has("2001::"));
        assert!(Cidr::new(["::/0"]).unwrap().has("1.1.1.1") && !Cidr::default().has("1.1.1.1"));
    }

    #[test]
    fn what_is_no_network_is_named() {
        for bad in
            ["", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0/8", "host", "1.1.1.1/8/8"]
        {
            assert_eq!(Cidr::new(["::1", bad]), Err(bad));
        }
    }
}
