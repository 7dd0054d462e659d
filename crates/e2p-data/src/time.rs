//! Times as seconds since 1970 in UTC, from the forms that the files have.

/// A whole number as it is, or a date with or without a time: `2024-05-01`, `2024-05-01 12:30:00`, `2024-05-01T12:30:00Z`, `6/19/2019 5:10:01 AM`.
///
/// A number keeps its unit: times are only compared with each other.
pub fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(number) = text.parse::<i64>() {
        return Some(number);
    }
    if let Ok(number) = text.parse::<f64>() {
        return number.is_finite().then_some(number.floor() as i64);
    }
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "0:00"));
    let slashes = date.contains('/');
    let mut parts = date.split(['-', '/']).map(|part| part.parse::<i64>().ok());
    let parts = [parts.next()??, parts.next()??, parts.next()??];
    let [year, month, day] = if slashes {
        [parts[2], parts[0], parts[1]]
    } else {
        parts
    };
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || !(1..=9999).contains(&year) {
        return None;
    }
    Some(days_since_1970(year, month, day) * 86_400 + seconds_of_day(time)?)
}

fn seconds_of_day(text: &str) -> Option<i64> {
    let text = text.trim().trim_end_matches('Z').trim_end_matches("+00:00");
    let (clock, half) = match text.split_once(' ') {
        Some((clock, half)) => (clock, Some(half.to_ascii_uppercase())),
        None => (text, None),
    };
    let clock = clock.split_once('.').map_or(clock, |(whole, _)| whole);
    let mut parts = clock.split(':').map(|part| part.parse::<i64>().ok());
    let (mut hour, minute) = (parts.next()??, parts.next()??);
    let second = parts.next().unwrap_or(Some(0))?;
    match half.as_deref() {
        Some("AM") => hour %= 12,
        Some("PM") => hour = hour % 12 + 12,
        Some(_) => return None,
        None => {}
    }
    let valid = (0..24).contains(&hour) && (0..60).contains(&minute) && (0..61).contains(&second);
    valid.then_some(hour * 3600 + minute * 60 + second)
}

/// Days of the Gregorian calendar, counting years from March so that the leap day is a year's last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
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
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
