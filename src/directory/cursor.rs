//! Cursors (RFC 9865): where a query goes on, sealed, so that any instance knows its own again and nobody makes one up.
//!
//! A cursor is a version, the time, the place and a keyed hash over these and over the query, which is not in it: one of
//! another tenant, of another query, or one that was tampered with has another hash.

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use time::OffsetDateTime;

use crate::scim::{
    error::{Error, Rule},
    limits::{CURSOR_SECONDS, MAX_CURSOR_BYTES},
    list::ListQuery,
};

/// The only version so far.
const VERSION: u8 = 1;
/// Bytes of version and time.
const HEAD_BYTES: usize = 9;
/// Bytes of the hash: half of it cannot be guessed either.
const SEAL_BYTES: usize = 16;

/// Where a query goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Behind the resource with this key.
    Behind(String),
    /// Behind so many of the sorted resources.
    Offset(usize),
}

/// Seals cursors of one query.
pub(super) struct Seal<'a> {
    /// The tenant's.
    pub(super) key: &'a [u8; 32],
    /// The names of the types that are asked for.
    pub(super) types: Vec<&'a str>,
    /// What is asked for; neither the cursor nor the page's size belong to it.
    pub(super) query: &'a ListQuery,
    /// The present.
    pub(super) now: OffsetDateTime,
}

impl Seal<'_> {
    /// The cursor that leads to a place.
    pub(super) fn close(&self, place: &Place) -> String {
        let seconds = u64::try_from(self.now.unix_timestamp()).unwrap_or(0);
        let mut bytes = vec![VERSION];
        bytes.extend(seconds.to_be_bytes());
        match place {
            Place::Behind(key) => {
                bytes.push(b'k');
                bytes.extend(key.as_bytes());
            }
            Place::Offset(offset) => {
                bytes.push(b'n');
                bytes.extend(offset.to_string().as_bytes());
            }
        }
        let hash = self.mac(&bytes).finalize().into_bytes();
        bytes.extend(&hash[..SEAL_BYTES]);
        BASE64URL_NOPAD.encode(&bytes)
    }

    /// The place to which a cursor leads.
    pub(super) fn open(&self, cursor: &str) -> Result<Place, Error> {
        let (time, place) = self.read(cursor).ok_or_else(|| Rule::InvalidCursor.error())?;
        // One from an instance whose clock is ahead is not older than now.
        let age = u64::try_from(self.now.unix_timestamp())
            .unwrap_or(0)
            .saturating_sub(time);
        if age > CURSOR_SECONDS {
            return Err(Rule::ExpiredCursor.error().with("limit", CURSOR_SECONDS.to_string()));
        }
        Ok(place)
    }

    fn read(&self, cursor: &str) -> Option<(u64, Place)> {
        if cursor.len() > MAX_CURSOR_BYTES {
            return None;
        }
        let bytes = BASE64URL_NOPAD.decode(cursor.as_bytes()).ok()?;
        let (content, hash) = bytes.split_last_chunk::<SEAL_BYTES>()?;
        self.mac(content).verify_truncated_left(hash).ok()?;
        let (head, place) = content.split_first_chunk::<HEAD_BYTES>()?;
        let (&VERSION, time) = head.split_first()? else {
            return None;
        };
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        let place = match place.split_first()? {
            (b'k', key) => Place::Behind(text(key)?),
            (b'n', offset) => Place::Offset(text(offset)?.parse().ok()?),
            _ => return None,
        };
        Some((u64::from_be_bytes(time.try_into().ok()?), place))
    }

    /// The hash over a cursor's content and the query.
    fn mac(&self, content: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key).expect("HMAC takes keys of any length");
        // Each part with its length, so that none can take from its neighbour.
        let mut part = |bytes: &[u8]| {
            mac.update(&(bytes.len() as u64).to_be_bytes());
            mac.update(bytes);
        };
        part(content);
        part(self.query.filter.as_deref().unwrap_or("").trim().as_bytes());
        let sort = self.query.sort.as_ref();
        part(sort.map_or("", |sort| sort.attribute.as_str()).as_bytes());
        part(&[u8::from(sort.is_some_and(|sort| sort.descending))]);
        for name in &self.types {
            part(name.as_bytes());
        }
        mac
    }
}

#[cfg(test)]
mod tests {
    use time::{Duration, OffsetDateTime};

    use super::{Place, Seal};
    use crate::scim::{
        error::Rule,
        limits::CURSOR_SECONDS,
        list::{ListQuery, SortBy},
    };

    const KEY: [u8; 32] = [7; 32];
    const OTHER_KEY: [u8; 32] = [8; 32];

    fn seal<'a>(key: &'a [u8; 32], types: &[&'a str], query: &'a ListQuery, seconds: u64) -> Seal<'a> {
        Seal {
            key,
            types: types.to_vec(),
            query,
            now: OffsetDateTime::UNIX_EPOCH + Duration::days(20_000) + std::time::Duration::from_secs(seconds),
        }
    }

    fn query(filter: &str, by: &str, descending: bool) -> ListQuery {
        ListQuery {
            filter: Some(filter.to_owned()).filter(|filter| !filter.is_empty()),
            sort: Some(by.to_owned())
                .filter(|by| !by.is_empty())
                .map(|attribute| SortBy { attribute, descending }),
            ..ListQuery::default()
        }
    }

    fn place() -> Place {
        Place::Behind("u~2819c223-7f76-453a-919d-413861904646".to_owned())
    }

    /// R-PAGE-02 (RFC 9865 §2): a cursor is made of unreserved characters.
    #[test]
    fn a_cursor_leads_to_its_place() {
        let query = query("title pr", "", false);
        let seal = seal(&KEY, &["User"], &query, 0);
        for place in [
            place(),
            Place::Offset(0),
            Place::Offset(usize::MAX),
            Place::Behind(String::new()),
        ] {
            let cursor = seal.close(&place);
            assert!(
                cursor
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'),
                "{cursor}"
            );
            assert_eq!(seal.open(&cursor), Ok(place));
        }
        let long = Place::Behind("u~".to_owned() + &"a".repeat(200));
        assert_eq!(seal.open(&seal.close(&long)), Ok(long), "the longest key fits");
    }

    /// R-PAGE-02: forged, cut off, of another tenant, of another query.
    #[test]
    fn a_cursor_is_good_for_its_tenant_and_its_query_only() {
        let own = query("title pr", "userName", false);
        let cursor = seal(&KEY, &["User"], &own, 0).close(&place());
        let check = |seal: &Seal<'_>, what: &str| {
            let refused = seal.open(&cursor).unwrap_err();
            assert_eq!(refused.rule(), Rule::InvalidCursor, "{what}");
        };
        check(&seal(&OTHER_KEY, &["User"], &own, 0), "another tenant");
        check(&seal(&KEY, &["Group"], &own, 0), "another type");
        check(&seal(&KEY, &["User", "Group"], &own, 0), "another endpoint");
        check(
            &seal(&KEY, &["User"], &query("title pr", "userName", true), 0),
            "another order",
        );
        check(
            &seal(&KEY, &["User"], &query("title pr", "title", false), 0),
            "another attribute",
        );
        check(&seal(&KEY, &["User"], &query("title pr", "", false), 0), "not sorted");
        check(&seal(&KEY, &["User"], &query("", "userName", false), 0), "no filter");
        check(
            &seal(&KEY, &["User"], &query("title pruserName", "", false), 0),
            "parts that run together",
        );
    }

    #[test]
    fn no_bit_of_a_cursor_can_be_changed() {
        let query = ListQuery::default();
        let seal = seal(&KEY, &["User"], &query, 0);
        let cursor = seal.close(&place());
        let bytes = super::BASE64URL_NOPAD.decode(cursor.as_bytes()).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut forged = bytes.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(seal.open(&super::BASE64URL_NOPAD.encode(&forged)).is_err(), "bit {bit}");
        }
        for length in 0..cursor.len() {
            assert!(seal.open(&cursor[..length]).is_err(), "the first {length} characters");
        }
        for text in [
            "x",
            "=",
            "a b",
            "é",
            &format!("{cursor}A"),
            &format!("{cursor}="),
            &"A".repeat(100_000),
        ] {
            assert_eq!(seal.open(text).unwrap_err().rule(), Rule::InvalidCursor, "{text}");
        }
    }

    /// R-PAGE-02 (RFC 9865 §2.1): `expiredCursor` after `cursorTimeout`.
    #[test]
    fn a_cursor_ages() {
        let query = ListQuery::default();
        let at = |seconds| seal(&KEY, &["User"], &query, seconds);
        let cursor = at(10_000).close(&place());
        for (seconds, good) in [
            (10_000, true),
            (10_000 + CURSOR_SECONDS, true),
            (10_001 + CURSOR_SECONDS, false),
            // Another instance's clock is behind.
            (9_000, true),
        ] {
            match at(seconds).open(&cursor) {
                Ok(found) => assert!(good && found == place(), "{seconds}"),
                Err(error) => assert!(!good && error.rule() == Rule::ExpiredCursor, "{seconds}: {error}"),
            }
        }
    }
}
