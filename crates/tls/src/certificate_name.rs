//! The name that a certificate gives its owner.

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// The tags of DER that a name is made of: the strings that hold text in UTF-8 or ASCII, ...
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;
/// ... and what is around them.
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;

/// The identifier of the common name, 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// The common name of the certificate's subject, or its DNS name where the subject has none. There is no name
/// where there are several, or where the common name is no text: which of them the authority has checked, and
/// for what, is not known.
pub(crate) fn name(certificate: &CertificateDer<'_>) -> Option<String> {
    let parsed = EndEntityCert::try_from(certificate).ok()?;
    only_name(parsed.subject(), parsed.valid_dns_names())
}

fn only_name<'a>(subject: &[u8], mut dns_names: impl Iterator<Item = &'a str>) -> Option<String> {
    match common_names(subject)?.as_slice() {
        [] => dns_names.next().filter(|_| dns_names.next().is_none()).map(str::to_owned),
        [only] => only.clone(),
        _ => None,
    }
}

/// The common names in the sets of attributes that a subject is made of; of one that is no text, nothing.
/// `None`: the subject is damaged.
fn common_names(subject: &[u8]) -> Option<Vec<Option<String>>> {
    let mut names = Vec::new();
    for (_, set) in elements(subject)?.into_iter().filter(|(tag, _)| *tag == SET) {
        for (_, attribute) in elements(set)?.into_iter().filter(|(tag, _)| *tag == SEQUENCE) {
            let parts = elements(attribute)?;
            if parts.first() == Some(&(OBJECT_IDENTIFIER, COMMON_NAME)) {
                names.push(parts.get(1).and_then(|&(tag, bytes)| text(tag, bytes)));
            }
        }
    }
    Some(names)
}

fn text(tag: u8, bytes: &[u8]) -> Option<String> {
    let is_text = matches!(tag, UTF8_STRING | PRINTABLE_STRING | IA5_STRING);
    str::from_utf8(bytes).ok().filter(|text| is_text && !text.is_empty()).map(str::to_owned)
}

/// The elements of DER one after the other, each with its tag. `None`: the bytes are none.
fn elements(mut bytes: &[u8]) -> Option<Vec<(u8, &[u8])>> {
    let mut elements = Vec::new();
    while !bytes.is_empty() {
        let (&[tag, first], rest) = bytes.split_first_chunk()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81 => rest.split_first().map(|(&length, rest)| (usize::from(length), rest))?,
            0x82 => {
                let (&length, rest) = rest.split_first_chunk()?;
                (usize::from(u16::from_be_bytes(length)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        bytes = rest;
        elements.push((tag, content));
    }
    Some(elements)
}

#[cfg(test)]
mod tests {
    use testing::certificates::Authority;

    use super::*;

    /// A subject of these common names, each of this type.
    fn subject_of(names: &[&str], kind: u8) -> Vec<u8> {
        let wrap = |tag: u8, bytes: &[u8]| {
            let mut all = vec![tag];
            match bytes.len() {
                length @ 0..0x80 => all.push(length as u8),
                length => all.extend([0x81, length as u8]),
            }
            [all.as_slice(), bytes].concat()
        };
        let attribute = |name: &&str| {
            let parts = [wrap(OBJECT_IDENTIFIER, COMMON_NAME), wrap(kind, name.as_bytes())];
            wrap(SET, &wrap(SEQUENCE, &parts.concat()))
        };
        names.iter().flat_map(attribute).collect()
    }

    #[test]
    fn a_certificate_names_its_owner_by_its_common_name_or_else_by_its_dns_name() {
        let authority = Authority::new("ours");
        let of = |identity: testing::certificates::Identity| name(&CertificateDer::from(identity.der));
        let worker = Some("worker".to_owned());
        assert_eq!(of(authority.issue(&["worker"])), worker);
        assert_eq!(of(authority.issue(&["worker", "worker.example", "10.0.0.3"])), worker);
        assert_eq!(of(authority.issue_without_common_name(&["worker", "10.0.0.3"])), worker);
        assert_eq!(of(authority.issue_without_common_name(&["worker", "worker.example"])), None);
        assert_eq!(name(&CertificateDer::from(vec![0x30, 0x03, 1, 2, 3])), None);
    }

    #[test]
    fn of_several_names_none_counts() {
        let dns = ["other"];
        let only = |names: &[&str], kind| only_name(&subject_of(names, kind), dns.into_iter());
        let long = "w".repeat(200);
        assert_eq!(only(&[&long], UTF8_STRING), Some(long));
        assert_eq!(only(&[], UTF8_STRING).as_deref(), Some("other"));
        for (names, kind) in [(&["a", "b"][..], UTF8_STRING), (&["a", "a"], IA5_STRING), (&[""], UTF8_STRING)]
        {
            assert_eq!(only(names, kind), None, "{names:?}");
        }
        assert_eq!(only(&["a"], 0x1e), None, "a string of another kind does not give way to the DNS name");
    }

    #[test]
    fn damaged_names_are_none() {
        let mut random = testing::Random::new(11);
        let subject = subject_of(&["worker"], UTF8_STRING);
        for _ in 0..2_000 {
            let _names = common_names(&random.damage(&subject));
        }
        for end in 1..subject.len() {
            assert_eq!(common_names(&subject[..end]), None);
        }
    }
}
