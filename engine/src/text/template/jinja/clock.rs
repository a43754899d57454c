//! The date, for templates that tell the model what day it is.

/// A time of UTC in the proleptic Gregorian calendar.
struct Civil {
    year: u64,
    month: u64,
    day: u64,
    /// From 1.
    day_of_year: u64,
    /// From 0, Sunday.
    weekday: u64,
    hour: u64,
    minute: u64,
    second: u64,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

impl Civil {
    /// The calendar's 400-year cycle of 146097 days, counted from 1 March so that the leap day comes last (Hinnant,
    /// "chrono-Compatible Low-Level Date Algorithms").
    fn at(seconds: u64) -> Self {
        let (days, second_of_day) = (seconds / 86_400, seconds % 86_400);
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_from_march = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_from_march + 2) / 153;
        let day = day_from_march - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let day_of_year =
            if month <= 2 { day_from_march - 305 } else { day_from_march + 60 + u64::from(leap) };
        Civil {
            year,
            month,
            day,
            day_of_year,
            weekday: (days + 4) % 7,
            hour: second_of_day / 3600,
            minute: second_of_day / 60 % 60,
            second: second_of_day % 60,
        }
    }

    fn name(names: &'static [&'static str], index: u64) -> &'static str {
        names.get(index as usize).copied().unwrap_or_default()
    }

    fn directive(&self, directive: char) -> Option<String> {
        let month = Self::name(&MONTHS, self.month - 1);
        let weekday = Self::name(&WEEKDAYS, self.weekday);
        let hour12 = (self.hour + 11) % 12 + 1;
        Some(match directive {
            'Y' => self.year.to_string(),
            'y' => format!("{:02}", self.year % 100),
            'm' => format!("{:02}", self.month),
            'd' => format!("{:02}", self.day),
            'e' => format!("{:2}", self.day),
            'j' => format!("{:03}", self.day_of_year),
            'B' => month.to_owned(),
            'b' | 'h' => month.get(..3)?.to_owned(),
            'A' => weekday.to_owned(),
            'a' => weekday.get(..3)?.to_owned(),
            'H' => format!("{:02}", self.hour),
            'I' => format!("{hour12:02}"),
            'M' => format!("{:02}", self.minute),
            'S' => format!("{:02}", self.second),
            'p' => if self.hour < 12 { "AM" } else { "PM" }.to_owned(),
            'F' => format!("{}-{:02}-{:02}", self.year, self.month, self.day),
            'D' | 'x' => format!("{:02}/{:02}/{:02}", self.month, self.day, self.year % 100),
            'R' => format!("{:02}:{:02}", self.hour, self.minute),
            'c' => format!(
                "{} {} {:2} {:02}:{:02}:{:02} {}",
                weekday.get(..3)?,
                month.get(..3)?,
                self.day,
                self.hour,
                self.minute,
                self.second,
                self.year
            ),
            'C' => format!("{:02}", self.year / 100),
            'w' => self.weekday.to_string(),
            'u' => ((self.weekday + 6) % 7 + 1).to_string(),
            'f' => "000000".to_owned(),
            'T' | 'X' => format!("{:02}:{:02}:{:02}", self.hour, self.minute, self.second),
            'Z' => "UTC".to_owned(),
            'z' => "+0000".to_owned(),
            'n' => "\n".to_owned(),
            't' => "\t".to_owned(),
            '%' => "%".to_owned(),
            _ => return None,
        })
    }
}

/// C's `strftime` for `seconds` since 1970, UTC and English; `-` after the percent sign drops leading zeros and spaces.
/// A directive that is not known is the error.
pub(super) fn strftime(format: &str, seconds: u64) -> Result<String, String> {
    let time = Civil::at(seconds);
    let mut out = String::new();
    let mut rest = format.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let first = rest.next().unwrap_or('%');
        let (bare, directive) =
            if first == '-' { (true, rest.next().unwrap_or('%')) } else { (false, first) };
        let text = time.directive(directive).ok_or_else(|| format!("unknown date directive %{directive}"))?;
        let stripped = text.trim_start_matches(['0', ' ']);
        out.push_str(match bare {
            false => &text,
            true if stripped.is_empty() => "0",
            true => stripped,
        });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = "%Y-%m-%d %H:%M:%S %a %A %b %B %j %y %I %p %e %-d %-m %F %T %%";

    /// Expected: Python's `datetime.fromtimestamp(t, timezone.utc).strftime(ALL)`.
    #[test]
    fn dates_are_those_of_python() {
        let cases = [
            (0, "1970-01-01 00:00:00 Thu Thursday Jan January 001 70 12 AM  1 1 1 1970-01-01 00:00:00 %"),
            (
                951_782_399,
                "2000-02-28 23:59:59 Mon Monday Feb February 059 00 11 PM 28 28 2 2000-02-28 23:59:59 %",
            ),
            (
                951_782_400,
                "2000-02-29 00:00:00 Tue Tuesday Feb February 060 00 12 AM 29 29 2 2000-02-29 00:00:00 %",
            ),
            (
                951_868_800,
                "2000-03-01 00:00:00 Wed Wednesday Mar March 061 00 12 AM  1 1 3 2000-03-01 00:00:00 %",
            ),
            (
                1_798_761_599,
                "2026-12-31 23:59:59 Thu Thursday Dec December 365 26 11 PM 31 31 12 2026-12-31 23:59:59 %",
            ),
            (
                4_107_542_400,
                "2100-03-01 00:00:00 Mon Monday Mar March 060 00 12 AM  1 1 3 2100-03-01 00:00:00 %",
            ),
        ];
        for (seconds, expected) in cases {
            assert_eq!(strftime(ALL, seconds).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn unknown_directives_are_named() {
        assert_eq!(strftime("%Q", 0), Err("unknown date directive %Q".to_owned()));
    }
}
