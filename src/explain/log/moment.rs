//! Times as exports of logs spell them.

use time::{Date, Month, OffsetDateTime, Time, UtcOffset, format_description::well_known::Rfc3339};

/// A time as exports spell it: RFC 3339, `2026-11-22 10:42:07`, `11/22/2026, 10:42:07.123 AM` (month first), or
/// `/Date(1763808127000)/`. Without a zone it is taken for UTC.
pub fn moment(text: &str) -> Option<OffsetDateTime> {
    // Beyond these years no time can be printed, or have another one added; none of a log is there.
    let at = spelled(text.trim())?.checked_to_offset(UtcOffset::UTC)?;
    (1970..9999).contains(&at.year()).then_some(at)
}

fn spelled(text: &str) -> Option<OffsetDateTime> {
    if let Ok(at) = OffsetDateTime::parse(text, &Rfc3339) {
        return Some(at);
    }
    if let Some(number) = text.strip_prefix("/Date(").and_then(|rest| rest.strip_suffix(")/")) {
        return OffsetDateTime::from_unix_timestamp(number.parse::<i64>().ok()?.div_euclid(1000)).ok();
    }
    let mut words = text.split([' ', ',', 'T', '\u{202f}']).filter(|word| !word.is_empty());
    let (date, time) = (words.next()?, words.next()?);
    let half = words.next().unwrap_or_default().to_ascii_uppercase();
    let numbers = |text: &str, between: char| -> Option<Vec<i32>> {
        let parts: Option<Vec<i32>> = text.split(between).map(|part| part.parse().ok()).collect();
        parts.filter(|parts| parts.len() == 3)
    };
    let (year, month, day) = match (numbers(date, '-'), numbers(date, '/')) {
        (Some(parts), _) => (parts[0], parts[1], parts[2]),
        (_, Some(parts)) => (parts[2], parts[0], parts[1]),
        _ => return None,
    };
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    let date = Date::from_calendar_date(year, month, u8::try_from(day).ok()?).ok()?;
    let mut clock = time.trim_end_matches('Z').splitn(3, ':');
    let mut part = || {
        clock
            .next()
            .map_or(Some(0), |part| part.split('.').next()?.parse::<u8>().ok())
    };
    let (hour, minute, second) = (part()?, part()?, part()?);
    let hour = match half.as_str() {
        "PM" if hour < 12 => hour + 12,
        "AM" if hour == 12 => 0,
        _ => hour,
    };
    Some(date.with_time(Time::from_hms(hour, minute, second).ok()?).assume_utc())
}
