//! Refresh timers (`refresh.timer`): `4:00-7:00`, `fri5,23:00-01:00`, `mon-wed,10:00,,sat,00:00~24:00/2`. Invariant: what is accepted
//! here is accepted by snapd, and its messages name the part that is wrong.

/// Check a timer.
///
/// # Errors
/// snapd's message.
pub fn check(timer: &str) -> Result<(), String> {
    if timer.is_empty() {
        return Err("cannot parse \"\": not a valid interval".to_owned());
    }
    for event in timer.split(",,") {
        for part in event.split(',') {
            let fits = if part.starts_with(|letter: char| letter.is_ascii_digit()) {
                is_time(part)
            } else {
                is_weekday_span(part)
            };
            if !fits {
                let kind = if part.contains(':') { "interval" } else { "weekday" };
                return Err(format!("cannot parse \"{part}\": \"{part}\" is not a valid {kind}"));
            }
        }
    }
    Ok(())
}

fn is_time(part: &str) -> bool {
    let (span, count) = match part.split_once('/') {
        Some((span, count)) => (span, Some(count)),
        None => (part, None),
    };
    let count_fits = count.is_none_or(|count| count.parse::<u32>().is_ok_and(|count| count > 0));
    let ends: Vec<&str> = span.split(['-', '~']).collect();
    count_fits
        && ends.len() <= 2
        && ends.iter().all(|end| is_clock(end))
        && (count.is_none() || ends.len() == 2)
}

fn is_clock(text: &str) -> bool {
    let Some((hour, minute)) = text.split_once(':') else { return false };
    let numbers = (hour.parse::<u32>(), minute.parse::<u32>());
    minute.len() == 2
        && matches!(numbers, (Ok(hour), Ok(minute)) if (hour < 24 && minute < 60) || (hour == 24 && minute == 0))
}

fn is_weekday_span(part: &str) -> bool {
    let ends: Vec<&str> = part.split('-').collect();
    ends.len() <= 2 && ends.iter().all(|end| is_weekday(end))
}

fn is_weekday(text: &str) -> bool {
    const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let day = text.trim_end_matches(|letter: char| ('1'..='5').contains(&letter));
    DAYS.contains(&day) && text.len() - day.len() <= 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_times_and_spans_are_accepted() {
        for timer in
            ["4:00-7:00", "fri5,23:00-01:00", "00:00~24:00/4", "mon-wed,10:00,,sat,14:00~16:00/2", "sun"]
        {
            assert_eq!(check(timer), Ok(()), "{timer}");
        }
    }

    #[test]
    fn the_wrong_part_is_named() {
        assert_eq!(check("xyz").unwrap_err(), "cannot parse \"xyz\": \"xyz\" is not a valid weekday");
        for timer in ["", "25:00", "fri6", "fri55", "1:2", "10:00/3", "mon-tue-wed", "10:00-11:00-12:00"] {
            assert!(check(timer).is_err(), "{timer}");
        }
    }
}
