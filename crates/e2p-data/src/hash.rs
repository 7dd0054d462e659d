//! The one hash behind splits, deduplication and id lookup: the same on every platform and in every
//! version.

/// FNV-1a in 64 bits over eight-byte words, finished with SplitMix64's mixer.
///
/// Not cryptographic: someone who chooses the ids can choose the collisions, which costs them time
/// or a dropped duplicate, nothing more.
pub(crate) fn hash_bytes(bytes: &[u8]) -> u64 {
    const PRIME: u64 = 0x0000_0100_0000_01B3;
    let mut hash = 0xCBF2_9CE4_8422_2325_u64 ^ bytes.len() as u64;
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        let word = u64::from_le_bytes(word.try_into().expect("chunks of eight"));
        // Words need the mixer at every step: FNV's multiplication alone only moves bits upwards.
        hash = mix((hash ^ word).wrapping_mul(PRIME));
    }
    for &byte in words.remainder() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(PRIME);
    }
    mix(hash)
}

/// Hash of several texts, in which their borders count.
pub(crate) fn hash_parts<'a>(parts: impl IntoIterator<Item = &'a str>) -> u64 {
    parts.into_iter().fold(0, |hash, part| {
        mix(hash ^ hash_bytes(part.as_bytes())).wrapping_add(1)
    })
}

/// SplitMix64's output function: every input bit moves every output bit.
pub(crate) fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_fixed_forever() {
        // Made by a second implementation, in Python integers. A change would move users between
        // splits that people have published results on.
        assert_eq!(hash_bytes(b""), 0xC381_7C01_6BA4_FF30);
        assert_eq!(hash_bytes(b"user-1"), 0xA5DC_4D66_AA43_5DE2);
        assert_eq!(hash_bytes(b"a longer user id"), 0xFD4D_6B1D_13F0_0612);
        assert_eq!(hash_parts(["a", "b"]), 0x367E_4BBF_D047_11EC);
    }

    #[test]
    fn borders_and_lengths_count() {
        assert_ne!(hash_parts(["ab", "c"]), hash_parts(["a", "bc"]));
        assert_ne!(hash_bytes(b"\0"), hash_bytes(b"\0\0"));
    }
}
