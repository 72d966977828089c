//! A picture of a browser in fewer bytes: with a palette of the colours that most of it has.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

/// The eight bytes before the first chunk (PNG, third edition, §5.2).
const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// The same picture with a palette. It is of the kind that a browser writes: eight bits a part, no palette,
/// not interlaced.
pub fn smaller(png: &[u8]) -> Vec<u8> {
    let chunks = chunks(png);
    let of =
        |name: &'static [u8]| chunks.iter().filter(move |(kind, _)| *kind == name).map(|(_, data)| *data);
    let head = of(b"IHDR").next().expect("a head");
    let number = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().expect("four bytes")) as usize;
    let (width, height, kind) = (number(0), number(4), head[9]);
    let parts = if kind == 6 { 4 } else { 3 };
    assert!(matches!((head[8], kind, head[12]), (8, 2 | 6, 0)), "{head:?}");
    let packed: Vec<u8> = of(b"IDAT").flatten().copied().collect();
    let mut filtered = Vec::new();
    ZlibDecoder::new(packed.as_slice()).read_to_end(&mut filtered).expect("a deflated picture");
    assert_eq!(filtered.len(), height * (1 + width * parts));
    let dots = dots(&filtered, width * parts, parts);
    let (palette, indices) = with_palette(&dots, parts);
    let lines: Vec<u8> = indices.chunks(width).flat_map(|line| [&[0], line].concat()).collect();
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&lines).expect("memory");
    let packed = encoder.finish().expect("memory");
    let head = [&head[..8], &[8, 3, 0, 0, 0]].concat();
    let all: [(&[u8], &[u8]); 4] =
        [(b"IHDR", &head), (b"PLTE", &palette), (b"IDAT", &packed), (b"IEND", b"")];
    let written = all.iter().flat_map(|(kind, data)| {
        let named = [*kind, *data].concat();
        let sum = crc32fast::hash(&named).to_be_bytes();
        [&u32::try_from(data.len()).expect("a length").to_be_bytes()[..], &named, &sum].concat()
    });
    SIGNATURE.iter().copied().chain(written).collect()
}

fn chunks(png: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut rest = png.strip_prefix(SIGNATURE).expect("a PNG");
    let mut chunks = Vec::new();
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        chunks.push((&behind[..4], &behind[4..4 + length]));
        rest = &behind[8 + length..];
    }
    chunks
}

/// The lines without their filters (§9).
fn dots(filtered: &[u8], line_bytes: usize, parts: usize) -> Vec<u8> {
    let mut dots: Vec<u8> = Vec::with_capacity(filtered.len());
    let mut above = vec![0; line_bytes];
    for line in filtered.chunks(1 + line_bytes) {
        let (filter, mut now) = (line[0], line[1..].to_vec());
        for at in 0..line_bytes {
            let [left, corner] = [&now, &above].map(|line| if at < parts { 0 } else { line[at - parts] });
            let up = above[at];
            let guess = match filter {
                0 => 0,
                1 => left,
                2 => up,
                3 => ((u16::from(left) + u16::from(up)) / 2) as u8,
                _ => paeth(left, up, corner),
            };
            now[at] = now[at].wrapping_add(guess);
        }
        dots.extend(&now);
        above = now;
    }
    dots
}

fn paeth(left: u8, up: u8, corner: u8) -> u8 {
    let guess = i16::from(left) + i16::from(up) - i16::from(corner);
    // The first of those that are nearest.
    [left, up, corner].into_iter().min_by_key(|known| (guess - i16::from(*known)).abs()).unwrap_or(left)
}

/// The most frequent colours of each kind, and the dots in them: one of another colour has the one that is nearest.
fn with_palette(dots: &[u8], parts: usize) -> (Vec<u8>, Vec<u8>) {
    let colour = |dot: &[u8]| [dot[0], dot[1], dot[2]];
    let mut counts: HashMap<[u8; 3], usize> = HashMap::new();
    dots.chunks(parts).for_each(|dot| *counts.entry(colour(dot)).or_default() += 1);
    let mut colours: Vec<[u8; 3]> = counts.keys().copied().collect();
    colours.sort_by_key(|colour| (Reverse(counts[colour]), *colour));
    // First one of each kind: a red that is rare is red all the same.
    let mut kinds = HashSet::new();
    let (mut palette, others): (Vec<[u8; 3]>, Vec<[u8; 3]>) =
        colours.into_iter().partition(|colour| kinds.insert(colour.map(|part| part >> 4)));
    palette.extend(others);
    palette.truncate(1 << 8);
    let apart = |one: [u8; 3], other: [u8; 3]| -> u32 {
        one.iter().zip(other).map(|(one, other)| u32::from(one.abs_diff(other)).pow(2)).sum()
    };
    let nearest =
        |colour: [u8; 3]| (0..=u8::MAX).zip(&palette).min_by_key(|(_, known)| apart(colour, **known));
    let places: HashMap<[u8; 3], u8> =
        counts.keys().filter_map(|colour| Some((*colour, nearest(*colour)?.0))).collect();
    let indices = dots.chunks(parts).map(|dot| places[&colour(dot)]).collect();
    (palette.concat(), indices)
}
