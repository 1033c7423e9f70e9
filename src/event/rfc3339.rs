//! Times in files that people read: RFC 3339 in UTC, to the microsecond. In memory, microseconds since 1970.

use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer, Serializer};

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
pub(crate) fn serialize<S: Serializer>(at: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    let at = i64::try_from(*at).ok();
    let at = at.and_then(|at| Timestamp::from_microsecond(at).ok());
    // A clock that is beyond the year 9999 tells nothing.
    serializer.collect_str(&at.unwrap_or(Timestamp::MAX))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    let at: Timestamp = text.parse().map_err(D::Error::custom)?;
    u64::try_from(at.as_microsecond()).map_err(D::Error::custom)
}
