//! Which partition a key belongs to: what Java's default partitioner says, so that a key lands where every
//! other client that follows it puts the same key.
//!
//! Source: `Utils.murmur2` and `BuiltInPartitioner.partitionForKey` of Kafka's Java client.

const SEED: u32 = 0x9747_b28c;
const M: u32 = 0x5bd1_e995;

/// The 32-bit MurmurHash2 of `data` with the seed that Kafka uses.
pub fn murmur2(data: &[u8]) -> i32 {
    let (words, tail) = data.as_chunks::<4>();
    let mut hash = SEED ^ data.len() as u32;
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        for (index, byte) in tail.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    (hash ^ hash >> 15) as i32
}

/// The partition of `key` in a topic of `partitions` partitions (0 if there are none).
pub fn partition_for_key(key: &[u8], partitions: i32) -> i32 {
    (murmur2(key) & i32::MAX) % partitions.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_java_client() {
        // Printed by Utils.murmur2 of kafka-clients 4.3.1; those from "21" on are in its UtilsTest too.
        let known = [
            ("", 275_646_681),
            ("1", -1_993_445_489),
            ("12", 126_087_238),
            ("123", -267_702_483),
            ("1234", -1_614_185_708),
            ("12345", -1_188_365_604),
            ("pedido-42", 916_102_137),
            ("áéí", -951_699_132),
            ("😀", 131_881_617),
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ];
        for (key, hash) in known {
            assert_eq!(murmur2(key.as_bytes()), hash, "{key}");
        }
        let every_byte: Vec<u8> = (0..300_u32).map(|index| (index * 7) as u8).collect();
        assert_eq!(murmur2(&every_byte), 996_416_776);
    }

    #[test]
    fn a_negative_hash_still_gives_a_partition() {
        assert_eq!(partition_for_key(b"foobar", 4), (-790_332_482_i32 & i32::MAX) % 4);
        for partitions in [1, 3, 4, 1000] {
            for key in [&b"21"[..], b"foobar", b"abc", b""] {
                assert!((0..partitions).contains(&partition_for_key(key, partitions)));
            }
        }
        assert_eq!(partition_for_key(b"abc", 0), 0);
    }
}
