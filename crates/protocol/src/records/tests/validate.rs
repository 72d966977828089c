//! Batches that a broker stores and batches that it refuses, in every codec.

use super::*;
use crate::error_code::ErrorCode;
use crate::records::validate::validate_within;
use crate::wire::Writer;

/// A record: timestamp and offset as differences, and everything from the key on as it stands.
type Raw<'a> = (i64, i32, &'a [u8]);

/// No key, the value `v`, no headers.
const PLAIN: &[u8] = &[1, 2, b'v', 0];

/// A batch of `records`, whose header says what it should of them.
fn raw_batch(codec: Compression, records: &[Raw<'_>]) -> Vec<u8> {
    let mut plain = Writer::new();
    for (timestamp_delta, offset_delta, rest) in records {
        let mut record = Writer::new();
        record.put_i8(0);
        record.put_varlong(*timestamp_delta);
        record.put_varint(*offset_delta);
        record.put_raw(rest);
        plain.put_varint(record.position() as i32);
        plain.put_raw(record.as_slice());
    }
    let max_timestamp = TIME + records.iter().map(|(delta, ..)| delta).max().unwrap();
    let bytes = with_records(codec, plain.as_slice(), records.len() as i32);
    with(&bytes, MAX_TIMESTAMP, &max_timestamp.to_be_bytes())
}

/// A batch with these bytes for its records.
fn with_records(codec: Compression, plain: &[u8], count: i32) -> Vec<u8> {
    let mut bytes = encode_batch([(None, None)], TIME, -1, -1, -1, Compression::None).unwrap();
    bytes.truncate(HEADER_BYTES);
    bytes[22] = codec as u8;
    bytes[23..27].copy_from_slice(&(count - 1).to_be_bytes());
    bytes[57..61].copy_from_slice(&count.to_be_bytes());
    compression::compress(codec, plain, &mut bytes).unwrap();
    sealed(bytes)
}

/// `bytes` with others from `at` on, sealed again.
fn with(bytes: &[u8], at: usize, others: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + others.len()].copy_from_slice(others);
    sealed(bytes)
}

fn refusal(bytes: Vec<u8>) -> ErrorCode {
    validate(&bytes.into()).unwrap_err().code
}

#[test]
fn a_batch_of_every_codec_is_valid_and_stays_as_it_came() {
    for codec in CODECS {
        let bytes = Bytes::from(batch(codec));
        let valid = validate(&bytes).unwrap();
        assert_eq!(valid.bytes.as_ptr(), bytes.as_ptr());
        assert_eq!(valid.header, only(bytes.to_vec()).header);
        let raw = Bytes::from(raw_batch(codec, &[(5, 0, PLAIN), (-9, 1, PLAIN)]));
        assert_eq!(validate(&raw).unwrap().bytes, raw);
    }
}

#[test]
fn what_another_implementation_sends_is_valid() {
    let mut records = other_records();
    for record in &mut records {
        record.offset -= 100;
        record.transactional = false;
    }
    let options = other::RecordEncodeOptions { version: 2, compression: other::Compression::None };
    let mut bytes = BytesMut::new();
    other::RecordBatchEncoder::encode(&mut bytes, &records, &options).unwrap();
    let header = validate(&bytes.freeze()).unwrap().header;
    assert_eq!((header.record_count, header.producer_id, header.max_timestamp), (5, 9, TIME));
}

#[test]
fn only_one_whole_batch_is_valid() {
    let one = batch(Compression::None);
    for end in 0..one.len() {
        assert_eq!(refusal(one[..end].to_vec()), ErrorCode::CORRUPT_MESSAGE, "{end} bytes");
    }
    assert_eq!(refusal(one.repeat(2)), ErrorCode::INVALID_RECORD);
    let longer = [&one[..], &[0]].concat();
    let refused = validate(&longer.into()).unwrap_err();
    assert_eq!(refused.code, ErrorCode::INVALID_RECORD);
    assert_eq!(refused.message, "bytes after the one record batch of a partition");
}

#[test]
fn every_flipped_bit_is_noticed() {
    for codec in CODECS {
        let one = batch(codec);
        for at in (0..one.len()).filter(|at| !(12..16).contains(at)) {
            let mut bytes = one.clone();
            bytes[at] ^= 1 << (at % 8);
            let code = refusal(bytes);
            let expected = match at {
                0 => [ErrorCode::INVALID_RECORD, ErrorCode::CORRUPT_MESSAGE],
                1..8 => [ErrorCode::INVALID_RECORD; 2],
                16 => [ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT; 2],
                // A smaller size leaves bytes over, which the wrong checksum hides.
                _ => [ErrorCode::CORRUPT_MESSAGE; 2],
            };
            assert!(expected.contains(&code), "byte {at}: {code}");
        }
    }
}

#[test]
fn a_header_that_a_producer_may_not_send_is_refused() {
    let one = batch(Compression::None);
    let refused = |at, bytes: &[u8]| refusal(with(&one, at, bytes));
    assert_eq!(refused(22, &[0x08]), ErrorCode::INVALID_TIMESTAMP);
    assert_eq!(refused(22, &[0x10]), ErrorCode::INVALID_RECORD);
    assert_eq!(refused(22, &[0x20]), ErrorCode::INVALID_RECORD);
    for codec in 5..=7 {
        assert_eq!(refused(22, &[codec]), ErrorCode::UNSUPPORTED_COMPRESSION_TYPE);
    }
    for last_offset in [3_i32, 5, i32::MAX] {
        assert_eq!(refused(23, &last_offset.to_be_bytes()), ErrorCode::INVALID_RECORD);
    }
    for count in [0_i32, 4, 6, i32::MAX] {
        assert_eq!(refused(57, &count.to_be_bytes()), ErrorCode::INVALID_RECORD);
    }
    for negative in [23, 57] {
        assert_eq!(refused(negative, &[0xff; 4]), ErrorCode::CORRUPT_MESSAGE);
    }
    for count in [1_i32, 4, 6] {
        let bytes = with(&one, 23, &(count - 1).to_be_bytes());
        assert_eq!(refusal(with(&bytes, 57, &count.to_be_bytes())), ErrorCode::INVALID_RECORD);
    }
}

#[test]
fn a_producer_id_comes_with_an_epoch_and_a_sequence() {
    let with_producer = |id, epoch, sequence| {
        let bytes = encode_batch(PAIRS, TIME, id, epoch, sequence, Compression::None).unwrap();
        validate(&bytes.into()).map(|valid| valid.header.producer_id)
    };
    assert_eq!(with_producer(0, 0, 0), Ok(0));
    assert_eq!(with_producer(-1, -1, -1), Ok(-1));
    // A client that is not idempotent may leave these at 0.
    assert_eq!(with_producer(-1, 0, 0), Ok(-1));
    for (id, epoch, sequence) in [(7, 0, -1), (7, -1, 0), (-2, 0, 0)] {
        assert_eq!(with_producer(id, epoch, sequence).unwrap_err().code, ErrorCode::INVALID_RECORD);
    }
}

#[test]
fn records_must_be_numbered_from_0_without_gaps() {
    for codec in CODECS {
        for offsets in [[1, 2, 3], [0, 0, 1], [0, 2, 1], [0, 1, 3], [-1, 0, 1], [0, 1, i32::MAX]] {
            let records = offsets.map(|offset| (0, offset, PLAIN));
            assert_eq!(refusal(raw_batch(codec, &records)), ErrorCode::INVALID_RECORD, "{offsets:?}");
        }
    }
}

#[test]
fn records_must_be_well_formed_to_the_last_byte() {
    let malformed: [&[u8]; 9] = [
        &[],
        &[1, 2, b'v'],
        &[1, 2, b'v', 0, 0],
        &[3, 2, b'v', 0],
        &[1, 0x80, 0x80, 0x80, 0x10, b'v', 0],
        // Headers: a negative number, more than there are, one without a key, one cut short.
        &[1, 2, b'v', 1],
        &[1, 2, b'v', 4, 2, b'h', 1],
        &[1, 2, b'v', 2, 1, 1],
        &[1, 2, b'v', 2, 2, b'h', 4, b'x'],
    ];
    for codec in CODECS {
        for record in malformed {
            let bytes = raw_batch(codec, &[(0, 0, PLAIN), (0, 1, record)]);
            assert_eq!(refusal(bytes), ErrorCode::INVALID_RECORD, "{record:?}");
        }
        let record = [16, 0, 0, 0, 1, 4, b'v', b'v', 0];
        assert!(validate(&with_records(codec, &record, 1).into()).is_ok());
        for plain in [&record[..8], &[&record[..], &[0]].concat(), &[1, 0], &[]] {
            assert_eq!(refusal(with_records(codec, plain, 1)), ErrorCode::INVALID_RECORD, "{plain:?}");
        }
    }
}

#[test]
fn keys_of_headers_may_be_any_bytes() {
    let record = &[1, 2, b'v', 4, 2, 0xff, 1, 4, b'o', b'k', 2, b'1'][..];
    let valid = validate(&raw_batch(Compression::Lz4, &[(0, 0, record)]).into()).unwrap();
    let records = only(valid.bytes.to_vec()).unpack(LIMIT).unwrap();
    let headers = records.iter().next().unwrap().unwrap().headers;
    let headers: Vec<_> = headers.iter().map(|(key, value)| (key.into_owned(), value)).collect();
    assert_eq!(headers, [("\u{fffd}".to_owned(), None), ("ok".to_owned(), Some(&b"1"[..]))]);
}

#[test]
fn packed_bytes_that_no_codec_wrote_are_an_invalid_record() {
    for codec in CODECS.into_iter().filter(|&codec| codec != Compression::None) {
        let mut bytes = batch(codec);
        bytes.truncate(bytes.len() - 3);
        assert_eq!(refusal(sealed(bytes)), ErrorCode::INVALID_RECORD, "{}", codec.name());
        let bytes = [&batch(Compression::None)[..HEADER_BYTES], b"not packed"].concat();
        assert_eq!(refusal(with(&bytes, 22, &[codec as u8])), ErrorCode::INVALID_RECORD);
    }
}

#[test]
fn records_that_unpack_to_too_much_are_too_large() {
    for codec in CODECS {
        let bytes =
            Bytes::from(encode_batch([(None, Some(&[0; 100_000][..]))], TIME, -1, -1, -1, codec).unwrap());
        let refused = validate_within(&bytes, 100_000, |_| ()).unwrap_err();
        assert_eq!(refused.code, ErrorCode::MESSAGE_TOO_LARGE, "{refused:?}");
        assert!(validate_within(&bytes, 101_000, |_| ()).is_ok());
    }
}

#[test]
fn a_largest_timestamp_that_is_not_true_is_put_right() {
    for codec in CODECS {
        let right = raw_batch(codec, &[(-5, 0, PLAIN), (7, 1, PLAIN), (0, 2, PLAIN)]);
        for wrong in [0, -1, TIME, TIME + 8, i64::MAX, i64::MIN] {
            let valid = validate(&with(&right, MAX_TIMESTAMP, &wrong.to_be_bytes()).into()).unwrap();
            assert_eq!(valid.bytes, right);
            assert_eq!(valid.header.max_timestamp, TIME + 7);
        }
    }
}

#[test]
fn a_valid_batch_is_packed_anew_with_the_same_records() {
    let headers = &[1, 2, b'v', 4, 2, b'h', 1, 4, b'o', 0xff, 2, b'1'][..];
    let records = [(0, 0, PLAIN), (-TIME - 1, 1, headers), (9, 2, &[2, b'k', 1, 0])];
    let all = |bytes: &[u8]| {
        let records = only(bytes.to_vec()).unpack(LIMIT).unwrap();
        let of = |record: Record<'_>| {
            let headers: Vec<_> =
                record.headers.iter().map(|(key, value)| format!("{key:?}{value:?}")).collect();
            format!("{} {} {:?} {:?} {headers:?}", record.offset, record.timestamp, record.key, record.value)
        };
        records.iter().map(|record| of(record.unwrap())).collect::<Vec<_>>()
    };
    for from in CODECS {
        let sent = with(
            &raw_batch(from, &records),
            43,
            &[[0, 0, 0, 0, 0, 0, 0, 7].as_slice(), &[0, 3, 0, 0, 0, 9]].concat(),
        );
        for to in CODECS {
            let mut valid = validate(&sent.clone().into()).unwrap();
            valid.pack(to).unwrap();
            let packed = only(valid.bytes.to_vec()).header;
            assert_eq!(packed, valid.header);
            assert_eq!((packed.attributes, packed.max_timestamp), (to as i16, TIME + 9));
            assert_eq!((packed.producer_id, packed.producer_epoch, packed.base_sequence), (7, 3, 9));
            assert_eq!(all(&valid.bytes), all(&sent), "{} to {}", from.name(), to.name());
            assert_eq!(valid.bytes == sent, from == to);
        }
    }
}

#[test]
fn the_time_of_the_append_stands_for_that_of_each_record() {
    for codec in CODECS {
        let sent = raw_batch(codec, &[(0, 0, PLAIN), (9, 1, PLAIN)]);
        let mut valid = validate(&sent.clone().into()).unwrap();
        valid.set_append_time(TIME + 5).unwrap();
        let stamped = only(valid.bytes.to_vec());
        assert_eq!(stamped.header, valid.header);
        assert!(stamped.header.is_log_append_time() && stamped.header.attributes & 7 == codec as i16);
        let records = stamped.unpack(LIMIT).unwrap();
        assert!(records.iter().all(|record| record.unwrap().timestamp == TIME + 5));
        assert_eq!(valid.bytes[HEADER_BYTES..], sent[HEADER_BYTES..]);
    }
}

#[test]
fn each_record_is_shown_once_and_in_order() {
    for codec in CODECS {
        let bytes = Bytes::from(raw_batch(codec, &[(0, 0, PLAIN), (9, 1, &[2, b'k', 1, 0])]));
        let mut shown = Vec::new();
        validate_each(&bytes, |record| shown.push((record.offset, record.timestamp, record.key.is_some())))
            .unwrap();
        assert_eq!(shown, [(0, TIME, false), (1, TIME + 9, true)]);
    }
}

#[test]
fn records_without_a_time_are_valid() {
    let bytes = encode_batch(PAIRS, -1, -1, -1, -1, Compression::Gzip).unwrap();
    assert_eq!(validate(&bytes.into()).unwrap().header.max_timestamp, -1);
}

#[test]
fn what_is_valid_after_damage_can_be_read_to_its_end() {
    let mut random = Random::new(0x000a_11d8);
    let mut passed = 0;
    for codec in CODECS {
        let headers = &[1, 2, b'v', 4, 2, b'h', 1, 4, b'o', b'k', 2, b'1'][..];
        let original = raw_batch(codec, &[(0, 0, PLAIN), (3, 1, headers), (1, 2, &[2, b'k', 1, 0])]);
        for _ in 0..10_000 {
            let damaged = sealed(random.damage(&original));
            let Ok(valid) = validate_within(&damaged.into(), LIMIT, |_| ()) else { continue };
            passed += 1;
            let batch = only(valid.bytes.to_vec());
            assert_eq!(batch.header, valid.header);
            let records = batch.unpack(LIMIT).unwrap();
            let records: Vec<_> = records.iter().map(|record| record.unwrap()).collect();
            assert!(records.iter().map(|record| record.offset).eq(0..records.len() as i64));
            let largest = records.iter().map(|record| record.timestamp).max();
            assert_eq!(largest, Some(valid.header.max_timestamp));
        }
    }
    assert!(passed > 1_000, "{passed}");
}

#[test]
fn a_record_is_found_by_its_time() {
    for codec in CODECS {
        let first = raw_batch(codec, &[(10, 0, PLAIN), (30, 1, PLAIN), (20, 2, PLAIN), (30, 3, PLAIN)]);
        let mut second = raw_batch(codec, &[(25, 0, PLAIN), (40, 1, PLAIN)]);
        second[..8].copy_from_slice(&4_i64.to_be_bytes());
        let batches = Bytes::from([first, second].concat());
        let found = |delta: i64| {
            let found = first_at_or_after(&batches, TIME + delta).unwrap();
            found.map(|(offset, timestamp)| (offset, timestamp - TIME))
        };
        assert_eq!(found(-1), Some((0, 10)));
        assert_eq!(found(10), Some((0, 10)));
        assert_eq!(found(11), Some((1, 30)));
        assert_eq!(found(30), Some((1, 30)));
        assert_eq!(found(31), Some((5, 40)));
        assert_eq!(found(40), Some((5, 40)));
        assert_eq!(found(41), None);
    }
    let mut damaged = batch(Compression::None);
    damaged[70] ^= 1;
    assert!(first_at_or_after(&damaged.into(), 0).is_err());
}
