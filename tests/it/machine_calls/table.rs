//! What a table is made of, and the script that carries one state of it out on a machine.

use std::fmt::Write as _;

/// Calls in states.
#[derive(Debug)]
pub struct Table {
    /// Shell functions that states and effects use. `$U` is a name of the row's own, the same on both machines.
    pub words: &'static str,
    /// What makes files count, once for all rows of a state.
    pub reload: &'static str,
    pub groups: &'static [Group],
    /// Takes away what a row has left.
    pub clear: &'static str,
    /// Where a booted machine of this distribution cannot do what others can.
    pub unlike: &'static [Unlike],
}

/// The same calls in each of these states.
#[derive(Debug)]
pub struct Group {
    pub states: &'static [State],
    pub calls: &'static [&'static [Call]],
}

/// What a thing can be like.
#[derive(Debug)]
pub struct State {
    pub name: &'static str,
    /// Shell: writes its files.
    pub files: &'static str,
    /// Shell: brings it there; right before the call.
    pub brought: &'static str,
}

/// A call as the charm makes it.
#[derive(Debug)]
pub struct Call {
    /// Program and arguments; `$U` in them is the row's own name.
    pub words: &'static [&'static str],
    pub reads: Reads,
    /// Shell: shows what has become of it.
    pub effect: &'static str,
}

/// What the charm reads of an answer, beside the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// Every word, as it stands.
    Words,
    /// Lines, in whatever order.
    Lines,
    /// Every word, however it is wrapped and aligned.
    Wrapped,
    /// The indented lines below this one, however they are aligned.
    Below(&'static str),
    /// Every word of a refusal, however it is wrapped; nothing of a success.
    Refusal,
    /// Nothing but the exit code.
    Code,
}

/// A row that cannot be the same, and why.
#[derive(Debug)]
pub struct Unlike {
    /// The state's name; empty: all.
    pub state: &'static str,
    /// How the call begins.
    pub call: &'static str,
    pub why: &'static str,
    /// A row that is alike all the same fails the test; otherwise it is a matter of luck.
    pub always: bool,
}

/// What came of a row on one machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Why the state could not be made; empty: it was.
    pub unmade: String,
    pub code: String,
    pub stdout: String,
    pub stderr: String,
    pub effect: String,
}

impl Call {
    /// For people, and for [`Unlike`].
    pub fn line(&self) -> String {
        self.words.join(" ")
    }

    fn script(&self, place: usize, state: &State, clear: &str) -> String {
        let words: Vec<String> = self.words.iter().map(|word| format!("\"{word}\"")).collect();
        format!(
            "U=call{place}\n(set -eu\n:\n{brought}\n) >/tmp/brought 2>&1 </dev/null\n\
             [ $? = 0 ] || {{ echo '@@unmade {place}'; echo it failed; tail -15 /tmp/brought; }}\n\
             timeout 60 {call} >/tmp/stdout 2>/tmp/stderr </dev/null; echo \"@@code {place}\n$?\"\n\
             echo '@@stdout {place}'; cat /tmp/stdout; echo\necho '@@stderr {place}'; cat /tmp/stderr; echo\n\
             echo '@@effect {place}'; (\n:\n{effect}\n) 2>&1 </dev/null; echo\n(\n:\n{clear}\n) >/dev/null 2>&1 </dev/null\n",
            brought = state.brought,
            call = words.join(" "),
            effect = self.effect,
        )
    }
}

/// One state with its calls, numbered from the table's first row on.
#[derive(Debug, Clone)]
pub struct Batch<'a> {
    pub state: &'a State,
    pub calls: Vec<&'a Call>,
    pub first: usize,
}

impl Group {
    pub fn calls(&self) -> impl Iterator<Item = &'static Call> {
        self.calls.iter().copied().flatten()
    }
}

impl Table {
    pub fn batches(&self) -> Vec<Batch<'_>> {
        let mut first = 0;
        let states =
            self.groups.iter().flat_map(|group| group.states.iter().map(move |state| (state, group)));
        states
            .map(|(state, group)| {
                let calls: Vec<&Call> = group.calls().collect();
                let batch = Batch { state, first, calls };
                first += batch.calls.len();
                batch
            })
            .collect()
    }

    /// Makes the state for each of the calls, and calls.
    pub fn script(&self, batch: &Batch<'_>) -> String {
        let mut text = format!("export LC_ALL=C.UTF-8\n{}\n", self.words);
        let rows = || batch.calls.iter().enumerate().map(|(place, call)| (batch.first + place, call));
        for (place, _) in rows().filter(|_| !batch.state.files.is_empty()) {
            // Writing to a text does not fail.
            let _ = write!(
                text,
                "U=call{place}\n(set -eu\n{}\n) || printf '@@unmade {place}\\nfiles\\n'\n",
                batch.state.files
            );
        }
        text += self.reload;
        text.push('\n');
        for (place, call) in rows() {
            text += &call.script(place, batch.state, self.clear);
        }
        text + "exit 0\n"
    }

    /// Why this row differs, if it is known to.
    pub fn unlike(&self, state: &State, call: &Call) -> Option<&Unlike> {
        let begins = |unlike: &&Unlike| call.line().starts_with(unlike.call);
        self.unlike.iter().filter(begins).find(|unlike| ["", state.name].contains(&unlike.state))
    }
}

/// The outcomes in what a script printed, in the order of the calls.
pub fn outcomes(batch: &Batch<'_>, printed: &str) -> Vec<Outcome> {
    let mut outcomes = vec![Outcome::default(); batch.calls.len()];
    let mut into: Option<(&str, usize)> = None;
    for line in printed.lines() {
        if let Some((part, place)) = line.strip_prefix("@@").and_then(|rest| rest.split_once(' ')) {
            into = place.parse::<usize>().ok().map(|place| (part, place - batch.first));
        } else if let Some((part, place)) = into
            && let Some(outcome) = outcomes.get_mut(place)
        {
            let field = match part {
                "code" => &mut outcome.code,
                "stdout" => &mut outcome.stdout,
                "stderr" => &mut outcome.stderr,
                "effect" => &mut outcome.effect,
                _ => &mut outcome.unmade,
            };
            field.push_str(line);
            field.push('\n');
        }
    }
    for (outcome, call) in outcomes.iter_mut().zip(&batch.calls) {
        let (stdout, stderr) = match call.reads {
            Reads::Refusal if outcome.code.trim() == "0" => (Reads::Code, Reads::Code),
            // As `process::Run::output` has it.
            Reads::Refusal if !outcome.stderr.trim().is_empty() => (Reads::Code, Reads::Wrapped),
            Reads::Refusal => (Reads::Wrapped, Reads::Code),
            Reads::Below(heading) => (Reads::Below(heading), Reads::Wrapped),
            reads => (reads, reads),
        };
        (outcome.stdout, outcome.stderr) = (read(&outcome.stdout, stdout), read(&outcome.stderr, stderr));
        outcome.effect = read(&outcome.effect, Reads::Lines);
    }
    outcomes
}

/// What counts of a text: without what differs from machine to machine and from moment to moment.
fn read(text: &str, reads: Reads) -> String {
    let lines = text.lines().map(|line| without_moments(line.trim_end()));
    let aligned = |line: String| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut lines: Vec<String> = match reads {
        Reads::Code => return String::new(),
        Reads::Wrapped | Reads::Refusal => return aligned(lines.collect::<Vec<_>>().join(" ")),
        Reads::Below(heading) => {
            let below = lines.skip_while(|line| line != heading).skip(1);
            below.take_while(|line| line.starts_with(' ')).map(aligned).collect()
        }
        Reads::Words | Reads::Lines => lines.collect(),
    };
    lines.retain(|line| !line.is_empty());
    if reads == Reads::Lines {
        lines.sort();
    }
    lines.join("\n")
}

/// Numbers of processes, jobs, moments, devices and local snaps: that there is one counts, not which.
fn without_moments(line: &str) -> String {
    const NUMBERS: [&str; 4] = ["MainPID=", "ExecMainPID=", "Job=", "ActiveEnterTimestampMonotonic="];
    for key in NUMBERS {
        if let Some(value) = line.strip_prefix(key) {
            let is_number = value.parse::<u64>().is_ok_and(|number| number > 0);
            return format!("{key}{}", if is_number { "N" } else { value });
        }
    }
    line.split(' ').map(without_number).collect::<Vec<&str>>().join(" ")
}

fn without_number(word: &str) -> &str {
    let is_number = |text: &str| text.parse::<u32>().is_ok();
    if word.strip_prefix('x').is_some_and(is_number) {
        // snapd counts the store's files with the others: files are all it gets on a booted machine.
        "xN"
    } else if word.trim_end_matches(':').strip_prefix("/dev/loop").is_some_and(is_number) {
        "/dev/loopN"
    } else {
        word
    }
}
