//! AlterUserScramCredentials (KIP-554): refused for each user, as the broker has no SASL.

use std::collections::BTreeMap;

use kafka_protocol::messages::alter_user_scram_credentials_request::ScramCredentialUpsertion;
use kafka_protocol::messages::alter_user_scram_credentials_response::AlterUserScramCredentialsResult;
use kafka_protocol::messages::{AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse};
use kafka_protocol::protocol::StrBytes;

use super::text;
use crate::node::Node;
use crate::request_context::RequestContext;
use protocol::error_code::ErrorCode;

/// The mechanisms with the fewest iterations of each: SCRAM-SHA-256 and SCRAM-SHA-512.
const FEWEST_ITERATIONS: [(i8, i32); 2] = [(1, 4_096), (2, 4_096)];

/// The most iterations of both.
const MOST_ITERATIONS: i32 = 16_384;

type Refused = (ErrorCode, &'static str);

/// Refuses each user once, by what is wrong first: a deletion finds nothing, and nothing can be set.
pub fn handle(
    _node: &Node,
    _context: &RequestContext<'_>,
    request: AlterUserScramCredentialsRequest,
) -> AlterUserScramCredentialsResponse {
    let mut refused: BTreeMap<StrBytes, Refused> = BTreeMap::new();
    for deletion in request.deletions {
        let missing = (ErrorCode::RESOURCE_NOT_FOUND, "there is no such credential to delete");
        let why = check(&deletion.name, deletion.mechanism).err().unwrap_or(missing);
        refused.entry(deletion.name).or_insert(why);
    }
    for upsertion in request.upsertions {
        let why = why_not(&upsertion);
        refused.entry(upsertion.name).or_insert(why);
    }
    let results = refused.into_iter().map(|(user, (code, why))| {
        AlterUserScramCredentialsResult::default()
            .with_user(user)
            .with_error_code(code.0)
            .with_error_message(Some(text(why)))
    });
    AlterUserScramCredentialsResponse::default().with_results(results.collect())
}

fn check(name: &str, mechanism: i8) -> Result<i32, Refused> {
    if name.is_empty() {
        return Err((ErrorCode::UNACCEPTABLE_CREDENTIAL, "Username must not be empty"));
    }
    let known = FEWEST_ITERATIONS.iter().find(|(known, _)| *known == mechanism);
    known.map(|(_, fewest)| *fewest).ok_or((ErrorCode::UNSUPPORTED_SASL_MECHANISM, "Unknown SCRAM mechanism"))
}

fn why_not(upsertion: &ScramCredentialUpsertion) -> Refused {
    match check(&upsertion.name, upsertion.mechanism) {
        Err(refused) => refused,
        Ok(fewest) if upsertion.iterations < fewest => {
            (ErrorCode::UNACCEPTABLE_CREDENTIAL, "Too few iterations")
        }
        Ok(_) if upsertion.iterations > MOST_ITERATIONS => {
            (ErrorCode::UNACCEPTABLE_CREDENTIAL, "Too many iterations")
        }
        Ok(_) => (
            ErrorCode::UNSUPPORTED_SASL_MECHANISM,
            "the embedded broker has no SASL, and keeps no credentials",
        ),
    }
}
