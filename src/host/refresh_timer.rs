//! When snapd looks for updates (its option `refresh.timer`), as operators write it: `sun5,23:00-01:00`. Invariant: what is
//! read here snapd accepts too, and the parts for several machines never overlap where the window has room for them.

use std::fmt::Write as _;

/// Minutes of a day.
const DAY: u32 = 24 * 60;
/// Where a timer names points and not windows, machines keep this distance.
const BETWEEN_POINTS: u32 = 15;
/// A window is cut into at most that many parts by the timer itself.
const PARTS_MAX: u32 = 24;

/// A timer: windows of days and hours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefreshTimer {
    text: String,
    events: Vec<Event>,
}

/// On these days (every day if none is named) in these windows (the whole day if none is named).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Event {
    days: Vec<String>,
    windows: Vec<Window>,
}

/// Minutes since midnight; an end that is not after the start is on the next day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    start: u32,
    end: u32,
    /// `~` lets snapd choose a moment in it, `-` wants the first one.
    between: char,
    parts: u32,
}

impl RefreshTimer {
    /// In snapd's notation. `None`: not that.
    pub fn parse(text: &str) -> Option<RefreshTimer> {
        let events: Option<Vec<Event>> = text.split(",,").map(event).collect();
        Some(RefreshTimer { text: text.to_owned(), events: events? })
    }

    /// Once a month, the machines on days of their own: 28 before one comes twice.
    pub fn monthly(machine: usize) -> String {
        const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        format!("{}{},00:00~24:00", DAYS[machine % 7], machine / 7 % 4 + 1)
    }

    /// The part of machine number `machine` (from 0) of `machines`.
    pub fn part(&self, machine: usize, machines: usize) -> String {
        if machines <= 1 {
            return self.text.clone();
        }
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let (machine, machines) = (count(machine), count(machines));
        let events: Vec<String> = self.events.iter().map(|event| event.part(machine, machines)).collect();
        events.join(",,")
    }
}

impl Event {
    fn part(&self, machine: u32, machines: u32) -> String {
        let whole_day = [Window { start: 0, end: DAY, between: '~', parts: 1 }];
        let windows = if self.windows.is_empty() { &whole_day[..] } else { &self.windows };
        let mut words = self.days.clone();
        for window in windows {
            words.extend(window.part(machine, machines, !self.days.is_empty()));
        }
        words.join(",")
    }
}

impl Window {
    /// A window beyond midnight ends there when it is one of a named day: its second half is on no day that could be named.
    fn part(&self, machine: u32, machines: u32, has_day: bool) -> Vec<String> {
        if self.start == self.end {
            return vec![clock((self.start + machine % 96 * BETWEEN_POINTS) % DAY)];
        }
        let width = match self.end.checked_sub(self.start) {
            Some(width) => width,
            None if has_day => DAY - self.start,
            None => self.end + DAY - self.start,
        };
        let parts = self.parts.min(width);
        let width = width / parts;
        let slot = |part: u32| {
            let start = self.start + part * width + machine % machines * width / machines;
            let end = start + (width / machines).max(1);
            let end = if end == DAY { DAY } else { end % DAY };
            let mut text = clock(start % DAY);
            // Writing to a text does not fail.
            let _ = write!(text, "{}{}", self.between, clock(end));
            text
        };
        (0..parts).map(slot).collect()
    }
}

fn clock(minute: u32) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

fn event(text: &str) -> Option<Event> {
    let mut event = Event { days: Vec::new(), windows: Vec::new() };
    for word in text.split(',') {
        if word.starts_with(|letter: char| letter.is_ascii_digit()) {
            event.windows.push(window(word)?);
        } else if event.windows.is_empty() && is_span_of_days(word) {
            event.days.push(word.to_owned());
        } else {
            return None;
        }
    }
    Some(event)
}

/// `10:00`, `23:00-01:00`, `00:00~24:00/4`.
fn window(word: &str) -> Option<Window> {
    let (span, parts) = match word.split_once('/') {
        Some((span, parts)) => {
            (span, parts.parse().ok().filter(|parts| (1..=PARTS_MAX).contains(parts)).map(Some)?)
        }
        None => (word, None),
    };
    let between = if span.contains('~') { '~' } else { '-' };
    let (start, end) = match span.split_once(between) {
        Some((start, end)) => (minute(start)?, minute(end)?),
        None if parts.is_some() => return None,
        None => (minute(span)?, minute(span)?),
    };
    (start < DAY).then_some(Window { start, end, between, parts: parts.unwrap_or(1) })
}

fn minute(text: &str) -> Option<u32> {
    let (hours, minutes) = text.split_once(':')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let fits = (1..=2).contains(&hours.len()) && minutes.len() == 2 && digits(hours) && digits(minutes);
    let (hours, minutes): (u32, u32) = (hours.parse().ok()?, minutes.parse().ok()?);
    let all = hours * 60 + minutes;
    (fits && minutes < 60 && all <= DAY).then_some(all)
}

/// `mon`, `fri5`, `mon-wed`.
fn is_span_of_days(word: &str) -> bool {
    const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let is_day = |text: &str| {
        DAYS.iter().any(|day| {
            text.strip_prefix(day).is_some_and(|week| matches!(week, "" | "1" | "2" | "3" | "4" | "5"))
        })
    };
    match word.split_once('-') {
        Some((first, last)) => is_day(first) && is_day(last),
        None => is_day(word),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(text: &str, machines: usize) -> Vec<String> {
        let timer = RefreshTimer::parse(text).unwrap();
        (0..machines).map(|machine| timer.part(machine, machines)).collect()
    }

    #[test]
    fn machines_share_a_window() {
        assert_eq!(parts("sun5,23:00-01:00", 1), ["sun5,23:00-01:00"]);
        assert_eq!(parts("4:00-7:00", 3), ["04:00-05:00", "05:00-06:00", "06:00-07:00"]);
        assert_eq!(parts("23:00~01:00", 2), ["23:00~24:00", "00:00~01:00"]);
        assert_eq!(parts("sun5,23:00-01:00", 2), ["sun5,23:00-23:30", "sun5,23:30-24:00"]);
        assert_eq!(parts("mon-wed", 2), ["mon-wed,00:00~12:00", "mon-wed,12:00~24:00"]);
        assert_eq!(parts("00:00~24:00/2", 2), ["00:00~06:00,12:00~18:00", "06:00~12:00,18:00~24:00"]);
        assert_eq!(parts("mon,10:00,,fri", 2)[1], "mon,10:15,,fri,12:00~24:00");
    }

    #[test]
    fn each_machine_has_a_day_of_its_own() {
        let all: std::collections::BTreeSet<String> = (0..28).map(RefreshTimer::monthly).collect();
        assert_eq!(all.len(), 28);
        assert_eq!(RefreshTimer::monthly(8), "tue2,00:00~24:00");
    }

    #[test]
    fn what_snapd_would_refuse_is_refused() {
        for text in [
            "",
            "soon",
            "25:00",
            "24:00-1:00",
            "10:60",
            "fri6",
            "fri55",
            "mon-tue-wed",
            "10:00/2",
            "9:00-10:00/0",
            "9:00-10:00/900",
            "10:00,mon",
            "mon,",
            "1:2",
            "+1:00",
            "mon,,",
        ] {
            assert_eq!(RefreshTimer::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn parts_are_timers_that_do_not_overlap(start in 0..1380u32, width in 60..1440u32, machines in 1..9usize) {
            let end = (start + width) % DAY;
            let text = format!("{}-{}", clock(start), clock(end));
            let mut starts = Vec::new();
            for part in parts(&text, machines) {
                let timer = RefreshTimer::parse(&part).unwrap();
                let window = timer.events[0].windows[0];
                let long = (window.end + DAY - window.start) % DAY;
                starts.push(((window.start + DAY - start) % DAY, long));
            }
            for (place, (from, long)) in starts.iter().enumerate() {
                prop_assert!(from + long <= width, "{:?}", starts);
                prop_assert!(starts.get(place + 1).is_none_or(|next| from + long <= next.0), "{:?}", starts);
            }
        }
    }
}
