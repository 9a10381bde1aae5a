//! What allocations take of memory, for whoever counts it.

/// Bytes that the allocator gives away for an allocation of `asked` bytes.
///
/// Of jemalloc's size classes (jemalloc(3), implementation notes): 8, multiples of 16 up to 128, and from there
/// four to each doubling.
pub const fn held_bytes(asked: usize) -> usize {
    match asked {
        0 => 0,
        1..=8 => 8,
        9..=128 => asked.next_multiple_of(16),
        _ => asked.next_multiple_of(asked.next_power_of_two() / 8),
    }
}

/// The same for the contents of a slice that has an allocation of its own.
pub const fn held_by<T>(slice: &[T]) -> usize {
    held_bytes(size_of_val(slice))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each class of the manual's table up to 16 KiB, a byte more than the class before, and itself.
    #[test]
    fn what_is_held_is_the_next_size_class() {
        let classes = [
            8, 16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896, 1024,
            1280, 1536, 1792, 2048, 2560, 3072, 3584, 4096, 5120, 6144, 7168, 8192, 10240, 12288, 14336,
            16384,
        ];
        let mut before = 0;
        for class in classes {
            assert_eq!((held_bytes(before + 1), held_bytes(class)), (class, class));
            before = class;
        }
        assert_eq!(held_bytes(0), 0);
        assert_eq!(held_by(&[0_u64; 100]), 896);
    }
}
