//! Parameters of a call, in the order in which they came.

#[derive(Default)]
pub struct Params(Vec<(String, String)>);

impl Params {
    pub fn parse(text: &str) -> Self {
        let mut params = Self::default();
        params.add(text);
        params
    }

    /// Adds those of another urlencoded text; what is there already wins.
    pub fn add(&mut self, text: &str) {
        self.0
            .extend(url::form_urlencoded::parse(text.as_bytes()).into_owned());
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }

    /// The value, if there is one and it is not empty.
    pub fn filled(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    pub fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.trim().parse().ok()
    }

    pub fn says_yes(&self, name: &str) -> bool {
        self.get(name) == Some("yes")
    }
}
