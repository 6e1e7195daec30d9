//! Links as text that other programs take.

use super::Link;
use crate::cli::failure::Failure;
use crate::cli::text::printable;

#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    Plain,
    Json,
    Markdown,
    Html,
}

pub(super) fn print(form: Form, links: &[Link]) -> Result<(), Failure> {
    let failed = |e: &dyn std::fmt::Display| Failure::new(format!("cannot print the links: {e}"));
    let text = match form {
        Form::Plain => links.iter().map(|link| format!("{}\n", link.url)).collect(),
        Form::Json => serde_json::to_string_pretty(links).map_err(|e| failed(&e))? + "\n",
        Form::Markdown => links.iter().map(markdown).collect(),
        Form::Html => html(links),
    };
    put!("{text}");
    Ok(())
}

/// A line of a list. What Markdown could take for a mark of its own is kept from that.
fn markdown(link: &Link) -> String {
    let mut name = String::new();
    for c in printable(link.name()).chars() {
        if c.is_ascii_punctuation() && c != '.' && c != '-' {
            name.push('\\');
        }
        name.push(c);
    }
    format!("- [{name}](<{}>)\n", link.url)
}

fn html(links: &[Link]) -> String {
    let item = |link: &Link| {
        let (url, name) = (escaped(&link.url), escaped(&printable(link.name())));
        format!("  <li><a href=\"{url}\">{name}</a></li>\n")
    };
    let items: String = links.iter().map(item).collect();
    format!("<ul>\n{items}</ul>\n")
}

fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut safe, c| {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
        safe
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(path: &str, url: &str) -> Link {
        Link {
            path: path.to_owned(),
            url: url.to_owned(),
            short_url: None,
        }
    }

    #[test]
    fn a_name_cannot_become_a_mark_of_the_text_around_it() {
        let odd = link("a/b/[x](y) *<b>&\"\n.txt", "https://host.example/f?a=1&b=2");
        assert_eq!(
            markdown(&odd),
            "- [\\[x\\]\\(y\\) \\*\\<b\\>\\&\\\"\u{fffd}.txt](<https://host.example/f?a=1&b=2>)\n"
        );
        assert_eq!(
            html(&[odd]),
            "<ul>\n  <li><a href=\"https://host.example/f?a=1&amp;b=2\">[x](y) *&lt;b&gt;&amp;&quot;\u{fffd}.txt</a></li>\n</ul>\n"
        );
    }
}
