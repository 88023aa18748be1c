//! What people are shown of texts that come from anywhere: options, databags, other programs. The one place that cuts and
//! cleans them: an argument longer than 128 KiB, or one with a zero byte, starts no program, and a line break spoils the table
//! of `juju status`.

/// A word longer than this is data; nobody reads it. Characters.
const WORD_MAX: usize = 200;
/// What is left of such a word, characters.
const WORD_BEGIN: usize = 60;
/// Stands where something was cut off.
const MORE: char = '…';

/// One line of `limit` bytes at most: every run of blanks, line breaks and control characters is one blank, and of a very
/// long word only its begin is left, so that what is said about it still is.
pub fn line(text: &str, limit: usize) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let mut line = String::new();
    for word in words {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&shortened(word));
        if line.len() > limit {
            break;
        }
    }
    cut(&line, limit)
}

/// Text of several lines, uncut: control characters but line ends and tabs are blanks.
pub fn text(text: &str) -> String {
    text.replace("\r\n", "\n").replace(|c: char| c.is_control() && c != '\n' && c != '\t', " ")
}

/// `text`, or its begin and a mark, in `limit` bytes.
pub fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(limit.saturating_sub(MORE.len_utf8()));
    format!("{}{MORE}", &text[..end])
}

/// Quotes and brackets at its end are kept, and the colon with which a cause begins.
fn shortened(word: &str) -> String {
    if word.chars().nth(WORD_MAX).is_none() {
        return word.to_owned();
    }
    let begin: String = word.chars().take(WORD_BEGIN).collect();
    let end = word.trim_end_matches(['"', '\'', '`', ')', ']', '}', ':', ';', ',', '.']).len();
    // A word of nothing but marks has no end of its own.
    let end = if word.len() - end > WORD_BEGIN { "" } else { &word[end..] };
    format!("{begin}{MORE}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_without_anything_that_moves_a_cursor() {
        let shown = line("channel:\n\"3.5\u{1b}[2J\0 /edge\r\n\tno\u{85}such\u{a0}track\" ", 1000);
        assert_eq!(shown, "channel: \"3.5 [2J /edge no such track\"");
        assert_eq!(line("  \n ", 1000), "");
    }

    #[test]
    fn what_is_said_of_a_very_long_value_is_kept() {
        let value = "x".repeat(130_000);
        let begin = "x".repeat(60);
        let shown = line(&format!("channel: \"{value}\"; accepted: 3.5/stable"), 1000);
        assert_eq!(shown, format!("channel: \"{}…\"; accepted: 3.5/stable", &begin[1..]));
        assert_eq!(line(&value, 1000), format!("{begin}…"));
        assert_eq!(line(&")".repeat(300), 1000), format!("{}…", ")".repeat(60)));
    }

    #[test]
    fn nothing_is_longer_than_it_may_be_or_ends_inside_a_character() {
        let many = "wörter ".repeat(1000);
        for limit in [4, 99, 100, 101, 1000] {
            let shown = line(&many, limit);
            assert!(shown.len() <= limit && shown.ends_with('…'), "{limit}: {shown}");
            assert!(cut(&many, limit).len() <= limit);
        }
        assert_eq!(cut("short", 5), "short");
    }

    #[test]
    fn lines_stay_lines_in_a_text() {
        assert_eq!(text("one\r\ntwo\tx\0y\u{1b}[1m\n"), "one\ntwo\tx y [1m\n");
    }
}
