//! A few lines of a terminal that are drawn again and again in place.

use std::io::{self, IsTerminal, Write};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Where the size of a terminal cannot be told.
const USUAL: Size = Size {
    columns: 80,
    lines: 24,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub columns: usize,
    pub lines: usize,
}

/// The lines at the cursor. The cursor is hidden as long as this lives; what was drawn last stays.
pub(super) struct Screen<W: Write> {
    out: W,
    drawn: usize,
    size: Box<dyn Fn() -> Size>,
}

impl Screen<io::Stdout> {
    /// Standard output, if it is a terminal.
    pub fn on_stdout() -> Option<Self> {
        let out = io::stdout();
        let is_terminal = out.is_terminal();
        is_terminal.then(|| Screen::new(out, Box::new(|| size_of(libc::STDOUT_FILENO))))
    }
}

impl Screen<io::Stderr> {
    /// Standard error, if it is a terminal.
    pub fn on_stderr() -> Option<Self> {
        let out = io::stderr();
        let is_terminal = out.is_terminal();
        is_terminal.then(|| Screen::new(out, Box::new(|| size_of(libc::STDERR_FILENO))))
    }
}

impl<W: Write> Screen<W> {
    fn new(out: W, size: Box<dyn Fn() -> Size>) -> Self {
        Screen { out, drawn: 0, size }
    }

    pub fn size(&self) -> Size {
        (self.size)()
    }

    /// Shows these lines in the place of those before. What does not fit is cut.
    pub fn draw(&mut self, text: &str) {
        let Size { columns, lines } = self.size();
        let mut shown = String::from("\x1b[?25l\r");
        if self.drawn > 0 {
            shown.push_str(&format!("\x1b[{}A", self.drawn));
        }
        self.drawn = 0;
        // The last line is the cursor's: text there would make the terminal scroll.
        for line in text.lines().take(lines.saturating_sub(1)) {
            shown.push_str(clipped(line, columns));
            shown.push_str("\x1b[K\n");
            self.drawn += 1;
        }
        shown.push_str("\x1b[J");
        // A screen that cannot be drawn on is no failure of what it shows.
        let _ = self.out.write_all(shown.as_bytes());
        let _ = self.out.flush();
    }
}

impl<W: Write> Drop for Screen<W> {
    fn drop(&mut self) {
        if self.drawn > 0 {
            let _ = self.out.write_all(b"\x1b[?25h");
            let _ = self.out.flush();
        }
    }
}

fn clipped(line: &str, columns: usize) -> &str {
    if line.width() <= columns {
        return line;
    }
    let mut left = columns;
    for (at, c) in line.char_indices() {
        match left.checked_sub(c.width().unwrap_or(0)) {
            Some(rest) => left = rest,
            None => return &line[..at],
        }
    }
    line
}

fn size_of(terminal: i32) -> Size {
    let mut told = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the descriptor is that of a standard stream, and `told` has the room that the call fills.
    let result = unsafe { libc::ioctl(terminal, libc::TIOCGWINSZ, &mut told) };
    match (result, told.ws_col, told.ws_row) {
        (0, columns @ 1.., lines @ 1..) => Size {
            columns: columns.into(),
            lines: lines.into(),
        },
        _ => USUAL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_drawn_over_cut_to_the_terminal_and_the_cursor_comes_back() {
        let mut out = Vec::new();
        let small = Size { columns: 6, lines: 3 };
        let mut screen = Screen::new(&mut out, Box::new(move || small));
        screen.draw("one\ntwo\nthree\n");
        screen.draw("日本語語\n");
        drop(screen);
        let expected = "\x1b[?25l\rone\x1b[K\ntwo\x1b[K\n\x1b[J\
            \x1b[?25l\r\x1b[2A日本語\x1b[K\n\x1b[J\x1b[?25h";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
