//! Keyed hashing for the store. The key is random for each process, since names, labels and grouping
//! keys are chosen by whoever pushes.

use std::hash::BuildHasher;

pub use rapidhash::quality::GlobalState as Hashing;

/// Hashes bytes.
pub fn of_bytes(bytes: &[u8]) -> u64 {
    Hashing::default().hash_one(bytes)
}

/// Hashes one label. The hash of a label set is the wrapping sum of its labels' hashes, so that the
/// sets of a series, of its group and of a part of either can be put together and taken apart.
pub fn of_label(name: &str, value: &str) -> u64 {
    Hashing::default().hash_one((name, value))
}

/// A map keyed by this process' hashing.
pub type Map<K, V> = std::collections::HashMap<K, V, Hashing>;

#[cfg(test)]
mod tests {
    use super::*;

    const CHILD: &str = "FLOODWAY_TEST_PRINTS_A_HASH";

    /// Nobody can choose what collides: what was found out about one process is of no use in another.
    #[test]
    fn each_process_hashes_with_a_key_of_its_own() {
        if std::env::var_os(CHILD).is_some() {
            println!("hash={}/{}", of_bytes(b"chosen"), of_label("chosen", "too"));
            return;
        }
        let name = format!("{}::each_process_hashes_with_a_key_of_its_own", module_path!());
        let name = name.split_once("::").unwrap().1;
        let hashes = [0, 1].map(|_| {
            let mut child = std::process::Command::new(std::env::current_exe().unwrap());
            let output = child.args([name, "--exact", "--nocapture"]).env(CHILD, "1").output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            text.lines().find_map(|line| line.split_once("hash=")).expect("a hash").1.to_owned()
        });
        assert_ne!(hashes[0], hashes[1]);
    }
}
