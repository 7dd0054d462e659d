//! What the values of a leaf mean.

use parquet::basic::{ConvertedType, LogicalType, TimeUnit};
use parquet::schema::types::ColumnDescriptor;

use crate::cell::Cell;
use crate::time::Time;

/// The meaning of a leaf's values beyond their physical type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// As they are: integers, floating-point numbers, booleans, texts.
    Plain,
    /// Integers without a sign.
    Unsigned,
    /// Whole numbers, and how many of their digits stand behind the point.
    Decimal(i32),
    /// Days since 1970.
    Days,
    /// Moments since 1970, of this many a second.
    Moments(i64),
    /// Floating-point numbers of 16 bits.
    Half,
    /// Something without a use here, in words.
    Other(String),
}

impl Kind {
    pub(super) fn of(leaf: &ColumnDescriptor) -> Self {
        let other = |what: &str| Self::Other(what.to_owned());
        match leaf.logical_type_ref() {
            Some(LogicalType::Integer(int)) if !int.is_signed => return Self::Unsigned,
            Some(LogicalType::Decimal(decimal)) => return Self::Decimal(decimal.scale),
            Some(LogicalType::Date) => return Self::Days,
            Some(LogicalType::Time(_)) => return other("a time of day"),
            Some(LogicalType::Timestamp(moment)) => {
                return Self::Moments(match moment.unit {
                    TimeUnit::MILLIS => 1_000,
                    TimeUnit::MICROS => 1_000_000,
                    TimeUnit::NANOS => 1_000_000_000,
                });
            }
            Some(LogicalType::Float16) => return Self::Half,
            Some(LogicalType::Uuid) => return other("a UUID in bytes"),
            Some(
                LogicalType::Bson
                | LogicalType::Variant(_)
                | LogicalType::Geometry(_)
                | LogicalType::Geography(_)
                | LogicalType::File,
            ) => return other("an object in bytes"),
            _ => {}
        }
        match leaf.converted_type() {
            ConvertedType::UINT_8
            | ConvertedType::UINT_16
            | ConvertedType::UINT_32
            | ConvertedType::UINT_64 => Self::Unsigned,
            ConvertedType::DECIMAL => Self::Decimal(leaf.type_scale()),
            ConvertedType::DATE => Self::Days,
            ConvertedType::TIMESTAMP_MILLIS => Self::Moments(1_000),
            ConvertedType::TIMESTAMP_MICROS => Self::Moments(1_000_000),
            ConvertedType::TIME_MILLIS | ConvertedType::TIME_MICROS => other("a time of day"),
            ConvertedType::INTERVAL => other("a span of time"),
            ConvertedType::BSON => other("an object in bytes"),
            _ => Self::Plain,
        }
    }

    /// An integer of `bits` bits.
    pub(super) fn integer(&self, value: i64, bits: u32) -> Cell {
        match self {
            Self::Unsigned if bits == 32 => whole(i128::from(value as u32)),
            Self::Unsigned => whole(i128::from(value as u64)),
            Self::Decimal(scale) => decimal(i128::from(value), *scale),
            Self::Days => Cell::Time(Time::from_parts(value.saturating_mul(86_400), 1)),
            Self::Moments(per_second) => Cell::Time(Time::from_parts(value, *per_second)),
            Self::Other(what) => Cell::Other(what.clone()),
            Self::Plain | Self::Half => whole(i128::from(value)),
        }
    }

    /// Bytes, of a text unless the kind says otherwise.
    pub(super) fn bytes(&self, bytes: &[u8]) -> Cell {
        match self {
            Self::Half => match bytes.try_into() {
                Ok(half) => float(half::f16::from_le_bytes(half).to_f32()),
                Err(_) => Cell::Other(format!("a 16-bit number of {} bytes", bytes.len())),
            },
            Self::Decimal(scale) if bytes.len() <= 16 => {
                // Big-endian with a sign, as short as the precision allows.
                let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
                let mut whole = [if negative { 0xFF } else { 0 }; 16];
                whole[16 - bytes.len()..].copy_from_slice(bytes);
                decimal(i128::from_be_bytes(whole), *scale)
            }
            Self::Decimal(_) => Cell::Other("a decimal number of more than 38 digits".to_owned()),
            Self::Other(what) => Cell::Other(what.clone()),
            _ => match std::str::from_utf8(bytes) {
                Ok(text) => Cell::Text(text.to_owned()),
                Err(_) => Cell::Other("bytes that are not UTF-8 text".to_owned()),
            },
        }
    }
}

fn whole(value: i128) -> Cell {
    Cell::Number {
        digits: value.to_string(),
        exact: true,
    }
}

/// A floating-point number of 32 bits, exact if it is whole and below its 24 bits.
pub(super) fn float(value: f32) -> Cell {
    Cell::Number {
        digits: value.to_string(),
        exact: value.fract() == 0.0 && value.abs() < 16_777_216.0,
    }
}

/// A floating-point number of 64 bits, exact if it is whole and below its 53 bits.
pub(super) fn double(value: f64) -> Cell {
    Cell::Number {
        digits: value.to_string(),
        exact: value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0,
    }
}

/// `value / 10^scale` in digits, without zeros at the end.
fn decimal(value: i128, scale: i32) -> Cell {
    let Some(scale) = usize::try_from(scale).ok().filter(|scale| *scale <= 38) else {
        return Cell::Other(format!("a decimal number of scale {scale}"));
    };
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let fraction = fraction.trim_end_matches('0');
    let sign = if value < 0 { "-" } else { "" };
    let point = if fraction.is_empty() { "" } else { "." };
    Cell::Number {
        digits: format!("{sign}{whole}{point}{fraction}"),
        exact: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digits(cell: &Cell) -> (&str, bool) {
        match cell {
            Cell::Number { digits, exact } => (digits, *exact),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn numbers_have_their_digits() {
        assert_eq!(
            digits(&Kind::Unsigned.integer(-1, 32)),
            ("4294967295", true)
        );
        assert_eq!(
            digits(&Kind::Unsigned.integer(-1, 64)),
            ("18446744073709551615", true)
        );
        assert_eq!(digits(&Kind::Decimal(2).integer(-105, 32)), ("-1.05", true));
        assert_eq!(digits(&Kind::Decimal(2).integer(500, 64)), ("5", true));
        assert_eq!(digits(&Kind::Decimal(3).integer(7, 64)), ("0.007", true));
        assert_eq!(
            digits(&Kind::Decimal(1).bytes(&[0xFF, 0xF5])),
            ("-1.1", true)
        );
        assert!(matches!(Kind::Decimal(1).bytes(&[0; 17]), Cell::Other(_)));
        assert_eq!(digits(&Kind::Half.bytes(&[0x00, 0x3E])), ("1.5", false));
        assert_eq!(
            digits(&double(9_007_199_254_740_992.0)),
            ("9007199254740992", false)
        );
        assert_eq!(digits(&double(7.0)), ("7", true));
        assert_eq!(digits(&float(f32::NAN)).1, false);
    }

    #[test]
    fn moments_are_seconds_and_what_is_beyond() {
        let time = |seconds, nanos| Cell::Time(Time { seconds, nanos });
        assert_eq!(Kind::Days.integer(-1, 32), time(-86_400, 0));
        assert_eq!(Kind::Moments(1000).integer(-1, 64), time(-1, 999_000_000));
        assert_eq!(
            Kind::Moments(1_000_000_000).integer(1_500_000_000, 64),
            time(1, 500_000_000)
        );
        assert!(matches!(
            Kind::Other("a time of day".into()).integer(5, 64),
            Cell::Other(_)
        ));
    }
}
