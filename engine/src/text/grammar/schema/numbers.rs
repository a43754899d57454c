//! Numbers of a schema. llguidance reads them as doubles, whose whole numbers have gaps from 2^53 on.

use std::convert::Infallible;

use serde_json::{Map, Number, Value};

use super::{each, take};

/// The double below 2^63, beyond which llguidance's whole numbers end.
const GREATEST: f64 = 9_223_372_036_854_774_784.0;

/// From here on the sum of a double and 1 may be the double itself.
const GAPS: f64 = 9_007_199_254_740_992.0;

/// What a number is divided by, without its decimal point. A lexer has as many states as there are remainders, for each digit
/// that bounds look at.
const GREATEST_DIVISOR: u64 = 2000;

/// The least common multiple of all divisors of a schema: so no product of two, or of what two have come to, has more than 32
/// bits.
const GREATEST_MULTIPLE: u64 = u16::MAX as u64;

/// Brings the bounds and constants of a schema into a form that is kept to.
///
/// # Errors
/// The keyword whose number is too large, or has too many digits.
pub(super) fn prepare(fields: &mut Map<String, Value>) -> Result<(), String> {
    for name in ["const", "enum"] {
        if let Some(number) = fields.get(name).and_then(inexact) {
            return Err(format!("{name}: {number} has too many digits to be kept to"));
        }
    }
    for (bound, exclusive, is_least) in
        [("minimum", "exclusiveMinimum", true), ("maximum", "exclusiveMaximum", false)]
    {
        exclusive_as_number(fields, bound, exclusive);
        for name in [bound, exclusive] {
            let Some(Value::Number(number)) = fields.get(name) else { continue };
            let inwards = inwards(number, is_least)
                .ok_or_else(|| format!("{name}: {number} is too large to be kept to"))?;
            let moved = if name == exclusive { without_bound(inwards, is_least) } else { inwards };
            // Small numbers stay as they are spelled, for messages.
            if number.as_f64() != Some(moved) || moved.abs() >= GAPS {
                let moved = Number::from_f64(moved).map_or(Value::Null, Value::Number);
                fields.insert(name.to_owned(), moved);
            }
        }
    }
    Ok(())
}

/// The number within a value that is not exactly a double, or for all that is known is not: what JSON spells with more than
/// 64 bits has become a double before it is seen.
fn inexact(value: &Value) -> Option<&Number> {
    match value {
        Value::Number(number) => {
            let as_read = number.as_f64()?;
            let is_exact = match exactly(number) {
                Some(whole) => as_read as i128 == whole,
                None => as_read.fract() != 0.0 || as_read.abs() <= GREATEST,
            };
            (!is_exact).then_some(number)
        }
        Value::Array(values) => values.iter().find_map(inexact),
        Value::Object(fields) => fields.values().find_map(inexact),
        Value::Null | Value::Bool(_) | Value::String(_) => None,
    }
}

fn exactly(number: &Number) -> Option<i128> {
    number.as_i64().map(i128::from).or(number.as_u64().map(i128::from))
}

/// `"exclusiveMinimum": true` of draft 4, which is about the other bound.
fn exclusive_as_number(fields: &mut Map<String, Value>, bound: &str, exclusive: &str) {
    if !matches!(fields.get(exclusive), Some(Value::Bool(_))) {
        return;
    }
    if take(fields, exclusive) == Some(Value::Bool(true))
        && let Some(value) = take(fields, bound)
    {
        fields.insert(exclusive.to_owned(), value);
    }
}

/// The double that is this bound, or next to it within; none where there are none within.
fn inwards(number: &Number, is_least: bool) -> Option<f64> {
    let nearest = number.as_f64()?;
    let sign = if is_least { 1.0 } else { -1.0 };
    let is_outside = exactly(number).is_some_and(|whole| match is_least {
        true => (nearest as i128) < whole,
        false => nearest as i128 > whole,
    });
    let within = match (is_outside, is_least) {
        (false, _) => nearest,
        (true, true) => nearest.next_up(),
        (true, false) => nearest.next_down(),
    };
    // As a least number: of greatest ones all is the other way round.
    let least = within * sign;
    (least <= GREATEST).then(|| least.max(-GREATEST) * sign)
}

/// A bound that is no number within, moved to where it is kept out. Of whole numbers the same are left, as far as doubles have
/// them all.
///
/// llguidance 1.9.1 allows an exclusive bound itself where it is a whole number and the other bound is less than 1 further
/// from 0, be that of this schema or of one that is merged with it.
fn without_bound(bound: f64, is_least: bool) -> f64 {
    const MOVED: f64 = 1e-9;
    // Beyond, the sum would be rounded to the bound.
    const GREATEST_MOVED: f64 = 1e6;
    let inwards = if is_least { MOVED } else { -MOVED };
    if bound.abs() >= GAPS {
        return if is_least { bound.next_up() } else { bound.next_down() };
    }
    let is_moved = bound.fract() == 0.0 && bound.abs() < GREATEST_MOVED && bound * inwards >= 0.0;
    if is_moved { bound + inwards } else { bound }
}

/// Refuses divisors that take too many states of a lexer, or are not read as they are spelled.
///
/// # Errors
/// `multipleOf`.
pub(super) fn check_multiples(schema: &mut Value) -> Result<(), String> {
    let (mut divisors, mut merges) = (Vec::new(), false);
    let mut wrong = None;
    let Ok(()) = each::<Infallible>(schema, &mut |fields| {
        merges |= ["allOf", "anyOf", "oneOf", "$ref", "patternProperties"]
            .iter()
            .any(|name| fields.contains_key(*name));
        if let Some(Value::Number(number)) = fields.get("multipleOf") {
            match divisor(number) {
                Some(divisor) => divisors.push(divisor),
                None => {
                    wrong.get_or_insert_with(|| {
                        format!("multipleOf: {number} has too many digits to be kept to")
                    });
                }
            }
        }
        Ok(())
    });
    if let Some(wrong) = wrong {
        return Err(wrong);
    }
    let digits = divisors.iter().map(|(_, digits)| *digits).max().unwrap_or(0);
    let multiple = divisors.iter().try_fold(1u64, |multiple, (divisor, of)| {
        let scaled = divisor.checked_mul(10u64.checked_pow(digits - of)?)?;
        least_common_multiple(multiple, scaled).filter(|multiple| *multiple <= GREATEST_MULTIPLE)
    });
    match multiple {
        None if merges => {
            Err("multipleOf: those of this schema have a least common multiple too large to be kept to"
                .to_owned())
        }
        _ => Ok(()),
    }
}

/// A divisor without its decimal point, and the digits behind that; none where it has too many, or llguidance, which multiplies
/// by 10 until nothing is behind the point, gets another.
fn divisor(number: &Number) -> Option<(u64, u32)> {
    let (mut value, mut digits) = (number.as_f64()?.abs(), 0u32);
    let spelled = value;
    while value.fract() != 0.0 && digits < 9 {
        value *= 10.0;
        digits += 1;
    }
    let divisor = value as u64;
    let is_read = value.fract() == 0.0 && format!("{divisor}e-{digits}").parse() == Ok(spelled);
    (is_read && divisor <= GREATEST_DIVISOR).then_some((divisor, digits))
}

fn least_common_multiple(a: u64, b: u64) -> Option<u64> {
    let (mut divisor, mut rest) = (a, b);
    while rest != 0 {
        (divisor, rest) = (rest, divisor % rest);
    }
    a.checked_div(divisor).unwrap_or(0).checked_mul(b)
}
