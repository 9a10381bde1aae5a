//! Queries and the bodies of forms (`application/x-www-form-urlencoded`): what a browser sends.

use std::borrow::Cow;

/// Names and values of a query or form; percent escapes and plus signs decoded, what is not UTF-8 replaced.
pub fn pairs(form: &[u8]) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    form_urlencoded::parse(form)
}

/// The first value of `name`.
pub fn value<'f>(form: &'f [u8], name: &str) -> Option<Cow<'f, str>> {
    pairs(form).find(|(found, _)| found == name).map(|(_, value)| value)
}

/// A query with these parameters, those that are empty left out.
pub fn query<'p>(parameters: impl IntoIterator<Item = (&'p str, &'p str)>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(parameters.into_iter().filter(|(_, value)| !value.is_empty()));
    query.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded() {
        let form = b"search=a+b%3D%22c%22&page=2&page=3&bad=%ff";
        assert_eq!(value(form, "search").unwrap(), "a b=\"c\"");
        assert_eq!(value(form, "page").unwrap(), "2");
        assert_eq!(value(form, "bad").unwrap(), "\u{fffd}");
        assert_eq!(value(form, "sort"), None);
    }

    #[test]
    fn queries_come_back() {
        let text = query([("search", "a b&c=\u{fc}"), ("sort", ""), ("page", "2")]);
        assert_eq!(value(text.as_bytes(), "search").unwrap(), "a b&c=\u{fc}");
        assert!(!text.contains("sort") && text.ends_with("&page=2"));
    }
}
