//! Seeded chance for the tests of this layer: the same damage in every run.

/// A small generator (SplitMix64).
pub struct Random(u64);

impl Random {
    /// A generator that gives the same numbers for the same seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `limit` (which is not 0).
    pub fn below(&mut self, limit: usize) -> usize {
        (self.draw() % limit as u64) as usize
    }

    /// `bytes` with one to four changes: bytes set, lengths inflated, pieces cut out, doubled or cut off.
    pub fn damage(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut damaged = bytes.to_vec();
        for _ in 0..=self.below(4) {
            if damaged.is_empty() {
                damaged.push(self.draw() as u8);
            }
            let at = self.below(damaged.len());
            match self.below(7) {
                0 => damaged[at] = self.draw() as u8,
                1 => damaged[at] ^= 1 << self.below(8),
                2 => damaged[at] = [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
                3 => damaged.truncate(at),
                4 => damaged.insert(at, self.draw() as u8),
                5 => {
                    let end = damaged.len().min(at + 4);
                    let value = [0x7fff_ffff_u32, 0xffff_ffff, 0x0010_0000, 2][self.below(4)].to_be_bytes();
                    damaged[at..end].copy_from_slice(&value[..end - at]);
                }
                _ => {
                    damaged.remove(at);
                }
            }
        }
        damaged
    }
}
