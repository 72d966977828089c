//! Batches against an independent implementation (`kafka-protocol`), against damage, and in every codec.

mod validate;

use bytes::{Bytes, BytesMut};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records as other;

use super::*;
use crate::compression::{self, Compression, CompressionError};
use testing::Random;

type Pair<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

const LIMIT: usize = 1 << 20;
const TIME: i64 = 1_700_000_000_000;
const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
const PAIRS: [Pair<'static>; 5] = [
    (None, Some(b"one")),
    (Some(b"k"), Some(b"two")),
    (Some(b""), None),
    (None, Some(b"")),
    (Some(b"a key that is longer than sixty-three bytes, so that its length takes two"), Some(&[7; 300])),
];

fn batch(codec: Compression) -> Vec<u8> {
    encode_batch(PAIRS, TIME, 9, 1, 20, codec).unwrap()
}

fn only(bytes: Vec<u8>) -> Batch {
    let mut batches = Batches::new(&Bytes::from(bytes));
    let batch = batches.next().unwrap().unwrap();
    assert!(batches.next().is_none());
    batch
}

/// `bytes` with the size and the checksum of its first batch made right, so that what they protect is
/// reached.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.len() >= HEADER_BYTES {
        let size = (bytes.len() - SIZE_END) as i32;
        bytes[8..12].copy_from_slice(&size.to_be_bytes());
        let crc = crc32c::crc32c(&bytes[CRC_END..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    }
    bytes
}

fn other_codec(codec: Compression) -> other::Compression {
    match codec {
        Compression::None => other::Compression::None,
        Compression::Gzip => other::Compression::Gzip,
        Compression::Snappy => other::Compression::Snappy,
        Compression::Lz4 => other::Compression::Lz4,
        Compression::Zstd => other::Compression::Zstd,
    }
}

/// Records that vary in all that a record may have, as the other implementation knows them.
fn other_records() -> Vec<other::Record> {
    let headers = [("trace", Some(Bytes::from_static(b"abc"))), ("empty", None)];
    let headers: IndexMap<StrBytes, Option<Bytes>> =
        headers.into_iter().map(|(key, value)| (StrBytes::from_static_str(key), value)).collect();
    let record = |(index, (key, value)): (usize, Pair<'static>)| other::Record {
        transactional: true,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 4,
        producer_id: 9,
        producer_epoch: 1,
        timestamp_type: other::TimestampType::Creation,
        offset: 100 + index as i64,
        sequence: 20 + index as i32,
        timestamp: TIME - 5 * index as i64,
        key: key.map(Bytes::from_static),
        value: value.map(Bytes::from_static),
        headers: if index == 1 { headers.clone() } else { IndexMap::new() },
    };
    PAIRS.into_iter().enumerate().map(record).collect()
}

#[test]
fn what_is_written_is_read_back_with_every_codec() {
    for codec in CODECS {
        let batch = only(batch(codec));
        let header = batch.header;
        assert_eq!((header.base_offset, header.last_offset(), header.record_count), (0, 4, 5));
        assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (9, 1, 20));
        assert!(!header.is_control() && !header.is_transactional() && !header.is_log_append_time());
        let records = batch.unpack(LIMIT).unwrap();
        for (index, record) in records.iter().enumerate() {
            let record = record.unwrap();
            assert_eq!((record.offset, record.timestamp), (index as i64, TIME));
            assert_eq!((record.key, record.value), PAIRS[index]);
            assert!(record.headers.is_empty());
        }
        assert_eq!(records.iter().count(), PAIRS.len());
    }
}

#[test]
fn records_keep_their_own_headers_and_timestamps() {
    let given: [(&str, Option<&[u8]>); 4] =
        [("a", Some(b"\xff\0")), ("b", None), ("a", Some(b"")), ("ñ", Some(&[7; 200]))];
    let headers = OwnHeaders::new(given);
    let with = |timestamp, headers| Content { timestamp, headers, ..Content::from(PAIRS[1]) };
    let contents = [
        with(Some(TIME + 5), headers.borrowed()),
        with(None, Headers::default()),
        with(Some(0), Headers::default()),
        with(Some(i64::MAX), headers.borrowed()),
    ];
    for codec in CODECS {
        let batch = only(encode_batch(contents, TIME, -1, -1, -1, codec).unwrap());
        assert_eq!((batch.header.base_timestamp, batch.header.max_timestamp), (TIME + 5, i64::MAX));
        let records = batch.unpack(LIMIT).unwrap();
        let read: Vec<_> = records.iter().map(|record| record.unwrap().content()).collect();
        let mut expected = contents;
        expected[1].timestamp = Some(TIME);
        assert_eq!(read, expected);
        assert!(read[0].headers.iter().eq(given.map(|(key, value)| (key.into(), value))));
    }
}

#[test]
fn another_implementation_reads_headers_and_timestamps() {
    let headers = OwnHeaders::new([("trace", Some(&b"abc"[..])), ("none", None)]);
    let first = Content { timestamp: Some(TIME), headers: headers.borrowed(), ..Content::from(PAIRS[1]) };
    let second = Content { timestamp: Some(TIME - 1000), ..first };
    let batch = encode_batch([first, second], 0, -1, -1, -1, Compression::None).unwrap();
    let set = other::RecordBatchDecoder::decode(&mut Bytes::from(batch)).unwrap();
    let times: Vec<_> = set.records.iter().map(|record| record.timestamp).collect();
    assert_eq!(times, [TIME, TIME - 1000]);
    for record in &set.records {
        let read = record.headers.iter().map(|(key, value)| (key.as_str().into(), value.as_deref()));
        assert!(read.eq(headers.borrowed().iter()));
    }
}

#[test]
fn another_implementation_reads_what_is_written() {
    for codec in CODECS {
        let mut bytes = Bytes::from(batch(codec));
        let unpack = |packed: &mut Bytes, seen| {
            assert_eq!(seen, other_codec(codec));
            Ok(Bytes::from(compression::decompress(codec, packed, LIMIT)?.into_owned()))
        };
        let set =
            other::RecordBatchDecoder::decode_with_custom_compression(&mut bytes, Some(unpack)).unwrap();
        assert!(bytes.is_empty());
        assert_eq!(set.records.len(), PAIRS.len());
        for (index, record) in set.records.iter().enumerate() {
            assert_eq!((record.key.as_deref(), record.value.as_deref()), PAIRS[index]);
            assert_eq!((record.timestamp, record.sequence), (TIME, 20 + index as i32));
            assert_eq!((record.producer_id, record.producer_epoch), (9, 1));
        }
    }
}

#[test]
fn what_another_implementation_writes_is_read() {
    for codec in CODECS {
        let mut bytes = BytesMut::new();
        let options = other::RecordEncodeOptions { version: 2, compression: other_codec(codec) };
        let pack = |plain: &mut BytesMut, out: &mut BytesMut, _| {
            let mut packed = Vec::new();
            compression::compress(codec, plain, &mut packed)?;
            out.extend_from_slice(&packed);
            Ok(())
        };
        let records = other_records();
        other::RecordBatchEncoder::encode_with_custom_compression(&mut bytes, &records, &options, Some(pack))
            .unwrap();
        let batch = only(bytes.to_vec());
        assert_eq!((batch.header.base_offset, batch.header.last_offset()), (100, 104));
        assert_eq!(batch.header.partition_leader_epoch, 4);
        assert!(batch.header.is_transactional());
        let unpacked = batch.unpack(LIMIT).unwrap();
        for (ours, theirs) in unpacked.iter().zip(&records) {
            let ours = ours.unwrap();
            assert_eq!((ours.offset, ours.timestamp), (theirs.offset, theirs.timestamp));
            assert_eq!((ours.key, ours.value), (theirs.key.as_deref(), theirs.value.as_deref()));
            let headers = theirs.headers.iter().map(|(key, value)| (key.as_str().into(), value.as_deref()));
            assert!(ours.headers.iter().eq(headers));
            assert_eq!(ours.headers.len(), theirs.headers.len());
        }
        assert_eq!(unpacked.iter().count(), records.len());
    }
}

#[test]
fn log_append_time_stands_for_every_record() {
    let mut bytes = batch(Compression::None);
    bytes[22] |= 0x08;
    bytes[35..43].copy_from_slice(&(TIME + 77).to_be_bytes());
    let records = only(sealed(bytes)).unpack(LIMIT).unwrap();
    assert!(records.iter().all(|record| record.unwrap().timestamp == TIME + 77));
}

#[test]
fn a_control_batch_is_flagged() {
    let mut bytes = batch(Compression::None);
    bytes[22] |= 0x30;
    let header = only(sealed(bytes)).header;
    assert!(header.is_control() && header.is_transactional());
}

#[test]
fn the_last_offset_stays_when_compaction_took_records_away() {
    // Offsets 0 and 2 of a batch that once reached 7.
    let mut bytes =
        encode_batch([(None, Some(&b"a"[..])), (None, Some(b"b"))], TIME, -1, -1, -1, Compression::None);
    let bytes = bytes.as_mut().unwrap();
    bytes[23..27].copy_from_slice(&7_i32.to_be_bytes());
    let second_delta = bytes.len() - 5;
    assert_eq!(bytes[second_delta], 2);
    bytes[second_delta] = 4;
    let batch = only(sealed(bytes.clone()));
    assert_eq!(batch.header.last_offset(), 7);
    let offsets: Vec<i64> =
        batch.unpack(LIMIT).unwrap().iter().map(|record| record.unwrap().offset).collect();
    assert_eq!(offsets, [0, 2]);
}

#[test]
fn a_batch_that_compaction_emptied_still_covers_its_offsets() {
    let mut bytes = batch(Compression::None);
    bytes.truncate(HEADER_BYTES);
    bytes[57..61].copy_from_slice(&0_i32.to_be_bytes());
    let batch = only(sealed(bytes));
    assert_eq!(batch.header.last_offset(), 4);
    assert_eq!(batch.unpack(LIMIT).unwrap().iter().count(), 0);
}

#[test]
fn a_last_batch_that_is_cut_short_is_left_out() {
    let one = batch(Compression::None);
    for end in 0..one.len() {
        let both = [one.as_slice(), &one[..end]].concat();
        let mut batches = Batches::new(&Bytes::from(both));
        assert!(batches.next().unwrap().is_ok());
        assert!(batches.next().is_none(), "{end} bytes");
    }
    assert_eq!(Batches::new(&Bytes::from(one.repeat(3))).count(), 3);
}

#[test]
fn errors_name_the_batch_and_end_the_iteration() {
    let mut bytes = batch(Compression::None);
    bytes[7] = 42;
    let damaged = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes.clone();
        change(&mut bytes);
        bytes.extend_from_slice(&batch(Compression::None));
        let mut batches = Batches::new(&Bytes::from(bytes));
        let error = batches.next().unwrap().unwrap_err();
        assert!(batches.next().is_none());
        error.to_string()
    };
    let end = bytes.len() - 1;
    assert_eq!(damaged(&|bytes| bytes[end] ^= 1), "record batch at offset 42: its checksum is wrong");
    let old = damaged(&|bytes| bytes[16] = 1);
    assert_eq!(old, "record batch at offset 42: format 1 is not read, only format 2");
    let small = damaged(&|bytes| bytes[8..12].copy_from_slice(&48_i32.to_be_bytes()));
    assert_eq!(small, "record batch at offset 42: a batch smaller than its header (at byte 8)");
    let negative = damaged(&|bytes| bytes[8] = 0x80);
    assert_eq!(negative, "record batch at offset 42: a batch smaller than its header (at byte 8)");
}

#[test]
fn an_unknown_codec_and_too_large_a_batch_are_refused_when_unpacked() {
    let mut bytes = batch(Compression::None);
    bytes[22] |= 0x07;
    let error = only(sealed(bytes)).unpack(LIMIT).unwrap_err();
    let cause = CompressionError::UnknownCodec(7);
    assert_eq!(error, RecordsError::Compression { base_offset: 0, cause });
    for codec in CODECS {
        let error = only(batch(codec)).unpack(100).unwrap_err();
        let cause = CompressionError::TooLarge { codec, limit: 100 };
        assert_eq!(error, RecordsError::Compression { base_offset: 0, cause });
    }
}

#[test]
fn more_or_fewer_records_than_announced_are_an_error() {
    for count in [1_i32, 4, 6, i32::MAX] {
        let mut bytes = batch(Compression::None);
        bytes[57..61].copy_from_slice(&count.to_be_bytes());
        let records = only(sealed(bytes)).unpack(LIMIT).unwrap();
        let error = records.iter().find_map(Result::err);
        assert!(matches!(error, Some(RecordsError::Malformed { base_offset: 0, .. })), "{count}");
        assert!(records.iter().count() <= PAIRS.len() + 1);
    }
}

#[test]
fn damaged_batches_never_panic_and_unpack_within_the_limit() {
    let mut random = Random::new(0x5eed);
    for codec in CODECS {
        let mut with_headers = BytesMut::new();
        let options = other::RecordEncodeOptions { version: 2, compression: other::Compression::None };
        other::RecordBatchEncoder::encode(&mut with_headers, &other_records(), &options).unwrap();
        for original in [batch(codec), with_headers.to_vec()] {
            for round in 0..20_000 {
                let damaged = random.damage(&original);
                let damaged = if round % 2 == 0 { sealed(damaged) } else { damaged };
                let mut seen = 0;
                for batch in Batches::new(&Bytes::from(damaged)).flatten() {
                    let Ok(records) = batch.unpack(LIMIT) else { continue };
                    for record in records.iter().flatten() {
                        seen += record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
                        seen += record.headers.iter().count();
                    }
                }
                assert!(seen <= LIMIT);
            }
        }
    }
}
