//! Times as seconds since 1970 in UTC, from the forms that the files have.

/// A moment: whole seconds, or the file's own unit where it has plain numbers, and what is beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time {
    pub(crate) seconds: i64,
    pub(crate) nanos: u32,
}

impl Time {
    /// Before every time: that of an event whose time is not known. No file can say it.
    pub(crate) const UNKNOWN: Self = Self {
        seconds: i64::MIN,
        nanos: 0,
    };

    pub(crate) fn is_known(self) -> bool {
        self != Self::UNKNOWN
    }

    /// `count` parts of a second, of which there are `per_second`, a divisor of a milliard.
    pub(crate) fn from_parts(count: i64, per_second: i64) -> Self {
        let nanos = count.rem_euclid(per_second) * (1_000_000_000 / per_second);
        Self {
            seconds: count.div_euclid(per_second),
            nanos: nanos as u32,
        }
    }

    /// A whole number, a number with a fraction, or a date with or without a time of day.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let whole = |seconds| Self { seconds, nanos: 0 };
        if let Ok(number) = text.parse::<i64>() {
            return Some(whole(number)).filter(|time| time.is_known());
        }
        if let Ok(number) = text.parse::<f64>() {
            // Beyond this a floating-point number no longer says which whole number it is.
            let floor = number.floor();
            let nanos = ((number - floor) * 1e9) as u32;
            let seconds = floor as i64;
            return (floor.abs() < 2_f64.powi(53)).then_some(Self { seconds, nanos });
        }
        parse_date(text)
    }
}

/// A whole number as it is, or a date with or without a time: `2024-05-01`, `2024-05-01 12:30:00`,
/// `2024-05-01T12:30:00Z`, `2024-05-01T12:30:00+02:00`, `6/19/2019 5:10:01 AM`.
///
/// A number keeps its unit: times are only compared with each other. Without an offset a date is
/// taken as UTC.
pub fn parse(text: &str) -> Option<i64> {
    Time::parse(text).map(|time| time.seconds)
}

fn parse_date(text: &str) -> Option<Time> {
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "0:00"));
    let slashes = date.contains('/');
    let mut parts = date.split(['-', '/']).map(|part| part.parse::<i64>().ok());
    let all = [parts.next()??, parts.next()??, parts.next()??];
    if parts.next().is_some() {
        return None;
    }
    let [year, month, day] = if slashes {
        [all[2], all[0], all[1]]
    } else {
        all
    };
    if !(1..=12).contains(&month) || !(1..=9999).contains(&year) {
        return None;
    }
    let start = days_since_1970(year, month, 1);
    let next = days_since_1970(year + month / 12, month % 12 + 1, 1);
    if !(1..=next - start).contains(&day) {
        return None;
    }
    let (of_day, nanos) = seconds_of_day(time)?;
    Some(Time {
        seconds: (start + day - 1) * 86_400 + of_day,
        nanos,
    })
}

/// Seconds since midnight in UTC, which an offset can put before it or behind the day, and what is
/// beyond.
fn seconds_of_day(text: &str) -> Option<(i64, u32)> {
    let text = text.trim();
    let zone = text.find(['Z', 'z', '+', '-', 'U', 'G']);
    let (text, zone) = text.split_at(zone.unwrap_or(text.len()));
    let offset = offset(zone.trim())?;
    let text = text.trim();
    let (clock, half) = match text.split_once(' ') {
        Some((clock, half)) => (clock, Some(half.trim().to_ascii_uppercase())),
        None => (text, None),
    };
    let (clock, fraction) = clock.split_once(['.', ',']).unwrap_or((clock, "0"));
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanos = format!("{fraction:0<9}")[..9].parse().ok()?;
    let mut parts = clock.split(':').map(|part| part.parse::<i64>().ok());
    let (mut hour, minute) = (parts.next()??, parts.next()??);
    let second = parts.next().unwrap_or(Some(0))?;
    match half.as_deref() {
        Some("AM" | "PM") if !(1..=12).contains(&hour) => return None,
        Some("AM") => hour %= 12,
        Some("PM") => hour = hour % 12 + 12,
        Some(_) => return None,
        None => {}
    }
    let valid = (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..61).contains(&second)
        && parts.next().is_none();
    valid.then_some((hour * 3600 + minute * 60 + second - offset, nanos))
}

/// Seconds that the zone is ahead of UTC: nothing, `Z`, `UTC`, `GMT`, `+02`, `+0200`, `+02:00`.
fn offset(zone: &str) -> Option<i64> {
    if matches!(zone, "" | "Z" | "z" | "UTC" | "GMT") {
        return Some(0);
    }
    let (sign, digits) = match zone.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = match digits.split_once(':') {
        Some(both) => both,
        None if digits.len() == 4 => digits.split_at_checked(2)?,
        None => (digits, "00"),
    };
    let two = |text: &str| {
        (text.len() == 2)
            .then(|| text.parse::<i64>().ok())
            .flatten()
    };
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    let valid = (0..=15).contains(&hours) && (0..60).contains(&minutes);
    valid.then_some(sign * (hours * 3600 + minutes * 60))
}

/// Days of the Gregorian calendar, counting years from March so that the leap day is a year's last.
pub(crate) fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_are_read() {
        // Expected values are those of `date -u -d … +%s`.
        let cases = [
            ("1560921001", 1_560_921_001),
            ("12.9", 12),
            ("1970-01-01", 0),
            ("2000-02-29 23:59:59", 951_868_799),
            ("2019-06-19T05:10:01Z", 1_560_921_001),
            ("6/19/2019 5:10:01 AM", 1_560_921_001),
            ("6/19/2019 12:10:01 AM", 1_560_903_001),
            ("7/3/2019 6:43:49 PM", 1_562_179_429),
            ("1969-12-31 23:00", -3600),
            ("2024-05-01T12:30:00+02:00", 1_714_559_400),
            ("2024-05-01 12:30:00 -0530", 1_714_586_400),
            ("2024-05-01T12:30:00.25+02", 1_714_559_400),
            ("2024-05-01 12:30:00 UTC", 1_714_566_600),
            ("2024-12-31T23:59:59-01:00", 1_735_693_199),
        ];
        for (text, seconds) in cases {
            assert_eq!(parse(text), Some(seconds), "{text}");
        }
    }

    #[test]
    fn nonsense_is_no_time() {
        for text in [
            "",
            "soon",
            "2019-13-01",
            "2019-06",
            "6/19/2019 5:10:01 XM",
            "2019-06-19 25:00",
            "NaN",
            "a-b-c",
            "2023-02-29",
            "2024-04-31",
            "2024-05-01-02",
            "2024-05-01T12:30:00+2:00",
            "2024-05-01T12:30:00+25:00",
            "2024-05-01T12:30:00 CEST",
            "2024-05-01T12:30:",
            "2024-05-01T12:30:00.",
            "6/19/2019 13:10:01 PM",
            "1e300",
            "-9223372036854775808",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_beyond_a_second_still_orders() {
        let parts = |text| Time::parse(text).map(|time| (time.seconds, time.nanos));
        assert_eq!(parts("1970-01-01T00:00:01.5"), Some((1, 500_000_000)));
        assert_eq!(parts("12.25"), Some((12, 250_000_000)));
        assert_eq!(parts("-0.25"), Some((-1, 750_000_000)));
        let millis = Time::from_parts(-1, 1000);
        assert_eq!((millis.seconds, millis.nanos), (-1, 999_000_000));
        assert!(Time::UNKNOWN < millis && millis < Time::from_parts(0, 1_000_000));
    }
}
